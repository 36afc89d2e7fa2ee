"""tools/reproduce.py as a user calls it."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from launcher import ROOT, environment, run_tool
from logs import evaluation, train_line, write_run

from agvm_runs.reproduce import TABLES

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@pytest.fixture(scope='module')
def work_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every cell of the table, three seeds each, with logs as long as real ones."""
    root = tmp_path_factory.mktemp('work')
    extra = {
        f'agvm/{kind}/{name}': 0.123456789
        for kind in ('phi', 'scale', 'noise_scale')
        for name in ('backbone', 'neck', 'rpn_head', 'roi_head.bbox_head')
    }
    for cell in TABLES['faster_rcnn'].cells(CONFIGS).values():
        entries = []
        for epoch in range(1, 13):
            entries += [{**train_line(epoch, 60 * epoch + 10 * i), **extra} for i in range(60)]
            entries.append(evaluation(epoch, coco__bbox_mAP=epoch / 100))
        for seed in range(3):
            write_run(root / f'{cell.name}_seed{seed}', entries)
    return root


def test_without_torch_and_mmengine_which_take_seconds_to_import(work_root: Path) -> None:
    arguments = ['--table', 'faster_rcnn', '--work-root', str(work_root)]
    tool = str(ROOT / 'tools' / 'reproduce.py')
    code = (
        'import runpy, sys\n'
        'sys.modules.update(dict.fromkeys(["torch", "mmengine", "mmcv", "mmdet", "mmseg"]))\n'
        f'sys.argv = {[tool, *arguments]!r}\n'
        f'runpy.run_path({tool!r}, run_name="__main__")\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], env=environment(), capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == run_tool('reproduce.py', *arguments)


def test_finished_runs(work_root: Path) -> None:
    text = run_tool('reproduce.py', '--table', 'faster_rcnn', '--work-root', work_root)
    cells = len(TABLES['faster_rcnn'].cells(CONFIGS))
    assert text.count('12.00 ± 0.00 (n=3)') == cells
    (line,) = (line for line in text.splitlines() if '1536  AGVM + AdamW' in line)
    assert line.split() == [
        '1536',
        'AGVM',
        '+',
        'AdamW',
        '768',
        'x',
        '2',
        '36.6',
        '12.00',
        '±',
        '0.00',
        '(n=3)',
        '-24.60',
        '0,',
        '1,',
        '2',
    ]
    before, after = (
        next(i for i, line in enumerate(text.splitlines()) if line.startswith(start))
        for start in ('  1536  ', '  1536  AGVM + AdamW')
    )
    lines = text.splitlines()
    assert not lines[before - 1].strip() and all(map(str.strip, lines[before : after + 1]))
    (line,) = (line for line in text.splitlines() if '1536  LAMB' in line)
    assert '33.2' in line and '-21.20 (sec.)' in line
    assert text.count('\nbash tools/dist_train.sh') + text.count('\nNNODES=') == cells
    assert text.count('bash tools/slurm_train.sh') == cells


def test_csv_has_every_cell_of_every_table(tmp_path: Path) -> None:
    rows = list(
        csv.DictReader(
            io.StringIO(run_tool('reproduce.py', '--work-root', tmp_path, '--format', 'csv'))
        )
    )
    assert {row['table'] for row in rows} == set(TABLES)
    assert all(row['mean'] == row['difference'] == '' for row in rows)
    assert all(not (row['published'] and row['secondary_source']) for row in rows)
    assert all(
        bool(row['source']) == bool(row['published'] or row['secondary_source'] or row['outcome'])
        for row in rows
    )
    (row,) = (
        r
        for r in rows
        if r['table'] == 'mask_rcnn_released'
        and r['batch'] == '512'
        and 'agvm-released' in r['config']
    )
    assert (row['published'], row['secondary_source']) == ('34.6', '')
    assert row['source'] == "the authors' README (mmdet 2)"
    (row,) = (r for r in rows if r['model'] == 'retinanet_r18' and 'agvm' in r['config'])
    assert (row['published'], row['secondary_source']) == ('', '26.7')


def test_markdown(work_root: Path) -> None:
    text = run_tool(
        'reproduce.py', '--table', 'faster_rcnn', '--work-root', work_root, '--format', 'markdown'
    )
    line = '| 1536 | AGVM + AdamW | 768 x 2 | 36.6 |  | 12.00 ± 0.00 (n=3) | -24.60 | 0, 1, 2 |  |'
    assert text.splitlines().count(line) == 1
    line = '| 1536 | LAMB | 768 x 2 |  | 33.2 | 12.00 ± 0.00 (n=3) | -21.20 (sec.) | 0, 1, 2 |  |'
    assert text.splitlines().count(line) == 1
    assert text.splitlines().count('| 1536 | PMD-LAMB (quoted) |  | 33.5 |  |  |  |  |  |') == 1
    assert text.count('```') == 2


@pytest.mark.parametrize(
    ('show', 'table', 'command'), [('results', True, False), ('commands', False, True)]
)
def test_one_part_alone(tmp_path: Path, show: str, table: bool, command: bool) -> None:
    text = run_tool('reproduce.py', '--table', 'large', '--work-root', tmp_path, '--show', show)
    assert ('published' in text) == table
    assert ('dist_train.sh' in text) == command


def test_a_wish_that_cannot_be_met_is_one_sentence(tmp_path: Path) -> None:
    text = run_tool('reproduce.py', '--table', 'large', '--gpus', '7', fails=True)
    assert text == (
        'error: 7 GPUs x 2 images do not divide the batch of 960 of '
        'cascade-mask-rcnn_swin-l_fpn_adamw_8xb2-11e-amp_coco.py; allowed for '
        '--gpus is a divisor of 480.\n'
    )


@pytest.mark.parametrize('form', ['terminal', 'markdown'])
def test_a_cell_that_cannot_says_why_and_the_others_have_commands(
    tmp_path: Path, form: str
) -> None:
    text = run_tool('reproduce.py', '--gpus', 8, '--work-root', tmp_path, '--format', form)
    (line,) = (line for line in text.splitlines() if '# fpn_r50, SGD, batch 16:' in line)
    assert line == (
        '# fpn_r50, SGD, batch 16: no command, 8 GPUs x 4 images do not divide the batch of 16 of '
        'fpn_r50_sgd_4xb4-80k_ade20k-512x512.py; allowed for --gpus is a divisor of 4.'
    )
    assert text.count('\nbash tools/dist_train.sh') > 100


def test_the_reason_is_in_the_csv(tmp_path: Path) -> None:
    text = run_tool('reproduce.py', '--gpus', 8, '--work-root', tmp_path, '--format', 'csv')
    rows = [row for row in csv.DictReader(io.StringIO(text)) if row['config']]
    assert {bool(row['torchrun']) for row in rows} == {True, False}
    assert all(bool(row['torchrun']) != bool(row['no_command']) for row in rows)


def test_a_foreign_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / 'faster-rcnn_r50_fpn_sgd-curriculum_8xb4-12e_coco.json').write_text('[')
    text = run_tool('reproduce.py', '--work-root', tmp_path, fails=True)
    assert text.startswith(
        f'error: {tmp_path}/faster-rcnn_r50_fpn_sgd-curriculum_8xb4-12e_coco.json is not'
    )
    assert text.count('\n') == 1


def test_summary_has_a_line_a_method_and_what_was_measured_alone(work_root: Path) -> None:
    text = run_tool('reproduce.py', '--work-root', work_root, '--format', 'summary')
    title, rule, *lines = text.strip().splitlines()
    head = '| Faster R-CNN R50-FPN on COCO 2017: box AP |'
    assert title == f'{head} 32 | 256 | 512 | 1024 | 1536 |'
    assert set(rule) == set('| -') and rule.count('---') == 6
    (agvm,) = (line for line in lines if line.startswith('| AGVM + SGD |'))
    assert agvm.count('12.00 ± 0.00 (n=3)') == 5
    (linear,) = (line for line in lines if line.startswith('| SGD, linear lr |'))
    assert linear.startswith('| SGD, linear lr |  | 12.00') and linear.count('12.00') == 4
    assert 'PMD' not in text


def test_summary_of_nothing_is_an_error(tmp_path: Path) -> None:
    text = run_tool('reproduce.py', '--work-root', tmp_path, '--format', 'summary', fails=True)
    assert text == f'error: no finished run below {tmp_path}.\n'


def test_the_results_on_the_pages_are_those_of_the_files() -> None:
    """The playbook has the first table with one digit, without Adan and the clipped rows."""
    docs = CONFIGS.parent / 'docs'
    arguments = ['--work-root', docs / 'results/miniature', '--format', 'summary']
    first, rest = run_tool('reproduce.py', *arguments).strip().split('\n\n', 1)
    assert rest in (docs / 'contributing/miniature.md').read_text()
    detectors = (docs / 'playbook.md').read_text().split('## Detectors')[1].split('\n## ')[0]
    rows = [line.split('|')[1:] for line in detectors.splitlines() if line.startswith('| ')]
    shown = {
        name.strip().removesuffix(', eigenvectors every update'): [numbers(c) for c in cells[:3]]
        for name, *cells in rows
    }
    for line in first.splitlines()[2:]:
        name, *cells = (cell.strip() for cell in line.strip('|').split('|'))
        if 'AGC' not in name and 'Adan' not in name:
            found = [pytest.approx(numbers(cell), abs=0.06) for cell in cells]
            assert shown[name] == found, name


def numbers(cell: str) -> list[float]:
    """Mean and spread, or nothing."""
    return [float(number) for number in re.findall(r'\d+\.\d+', cell)]
