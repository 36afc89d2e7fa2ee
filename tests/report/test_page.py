"""The report page: what it says of a run, and that nothing in a run can break out of it."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from shlex import quote
from typing import Any

import pytest
from launcher import run_tool

from agvm_runs.report import read_run, render_page
from agvm_runs.report.findings import findings
from agvm_runs.work_dir import read_literals

EVIL = '<script>alert(1)</script>"\'&<img src=x onerror=alert(2)>$\\frac{'
CONFIG = """
launcher = 'pytorch'
train_dataloader = dict(batch_size=4)
metainfo = dict(classes=({evil!r}, 'ring'))
optim_wrapper = dict(
    type='AGVMOptimWrapper', accumulative_counts=2,
    optimizer=dict(type={evil!r}, lr=0.02),
    agvm=dict(interval=2, begin=4, {more}))
"""
LOG = """
------------------------------------------------------------
System environment:
    Python: 3.11
    PyTorch: 2.13.0
Runtime environment:
    seed: 0
    GPU number: 3
------------------------------------------------------------
"""


def _entry(step: int, scale: float = 1.5, **more: float) -> dict[str, Any]:
    entry = {'iter': step, 'step': step, 'epoch': 1, 'loss': 3.0 / step, 'loss_cls': 1.0 / step}
    for module, value in (('backbone', 1.0), ('neck', scale)):
        entry |= {
            f'agvm/phi/{module}': 0.5,
            f'agvm/phi_low/{module}': 0.48,
            f'agvm/phi_high/{module}': 0.52,
            f'agvm/scale/{module}': value,
            f'agvm/{module}.lr': 0.02 * value,
        }
    return entry | more


def _work_dir(
    folder: Path, entries: list[dict], more: str = '', log: str = LOG, evil: str = 'SGD'
) -> Path:
    data = folder / '20260101_000000' / 'vis_data'
    data.mkdir(parents=True)
    lines = [*entries, {'coco/bbox_mAP': 0.25, f'coco/{evil}_precision': 0.5, 'step': 1}]
    (data / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)) + '\n{"step": 9, "lo')
    (data / 'config.py').write_text(CONFIG.format(evil=evil, more=more))
    (data.parent / 'a.log').write_text(log)
    (folder / 'recipe.py').write_text('')
    return folder


class _Parser(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ''
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def _parse(folder: Path) -> _Parser:
    return _Parser(render_page(read_run(folder)))


def test_a_noise_scale_that_is_infinite_at_the_end_is_not_an_earlier_one(tmp_path: Path) -> None:
    """phi of 0.5 at 8 images; at the end 1.1 with ends of 0.6 and 1.6: from 6 images on."""
    at_end = {'agvm/phi/neck': 1.1, 'agvm/phi_low/neck': 0.6, 'agvm/phi_high/neck': 1.6}
    entries = [_entry(10, **{'agvm/noise_scale/neck': 4.0}), _entry(20, **at_end)]
    page = render_page(read_run(_work_dir(tmp_path, entries)))
    (row,) = re.findall(r'<tr><td>neck</td>.*?</tr>', page)
    cells = re.findall(r'<td[^>]*>(.*?)</td>', row)
    assert cells[1:5] == ['1.100', '0.600 to 1.600', '∞', '6.000 to ∞']


def test_the_page_says_what_the_run_did(tmp_path):
    run = read_run(_work_dir(tmp_path / 'a', [_entry(10), _entry(20)]))
    assert (run.ranks, run.accumulation, run.batch, run.updates) == (3, 2, 24, 10)
    config = tmp_path / 'a/20260101_000000/vis_data/config.py'
    assert run.command == f'bash tools/dist_train.sh {quote(str(config))} 3 --seed 0'
    page = _Parser(render_page(run))
    for text in ('coco/bbox_mAP', '0.250', 'PyTorch', '2.13.0', 'lr=0.02', '0.480 to 0.520'):
        assert text in page.text
    assert page.tags.count('svg') == 2


def test_the_command_is_that_of_the_training_also_after_a_test(tmp_path):
    """A test writes a log and a config, later than the training's."""
    folder = _work_dir(tmp_path / 'a', [_entry(10)])
    before = read_run(folder)
    data = folder / '20260102_000000/vis_data'
    data.mkdir(parents=True)
    (data / 'scalars.json').write_text(json.dumps({'coco/bbox_mAP': 0.3, 'step': 0}))
    (data / 'config.py').write_text('launcher = "none"\n')
    (data.parent / 'b.log').write_text(LOG.replace('seed: 0', 'seed: 7'))
    (folder / 'a_config_of_the_test.py').write_text('')
    after = read_run(folder)
    assert (after.command, after.config) == (before.command, before.config)


def test_a_seed_of_the_config_is_not_given_twice(tmp_path):
    folder = _work_dir(tmp_path / 'a', [_entry(10)])
    (config,) = folder.glob('*/vis_data/config.py')
    config.write_text(config.read_text() + 'randomness = dict(seed=5)\n')
    assert '--seed' not in read_run(folder).command


def test_nothing_is_loaded_from_elsewhere(tmp_path):
    page = _parse(_work_dir(tmp_path / 'a', [_entry(10), _entry(20)]))
    assert not {'script', 'link', 'img', 'iframe', 'object', 'embed', 'base'} & set(page.tags)
    for name, value in page.attributes:
        assert not name.startswith('on')
        if name in ('src', 'href', 'xlink:href', 'action', 'style', 'clip-path'):
            assert '//' not in (value or '') and 'url(h' not in (value or '')
    assert '@import' not in page.text and 'url(' not in page.text


def test_hostile_names_stay_text(tmp_path):
    folder = tmp_path / 'a"><script>b'
    entry = _entry(10) | {f'agvm/phi/{EVIL}': 0.5, f'agvm/scale/{EVIL}': 1.1, f'loss_{EVIL}': 1.0}
    log = LOG.replace('2.13.0', EVIL) + f'WARNING - AGVM: gradients were not finite {EVIL}'
    settings = f'anchor={EVIL!r}, estimator={EVIL!r}, modules={{{EVIL!r}: [{EVIL!r}]}}'
    _work_dir(folder, [entry], settings, evil=EVIL, log=log)
    warned = LOG + 'WARNING - AGVM: gradients were not finite'
    harmless = _parse(_work_dir(tmp_path / 'b', [_entry(10)], log=warned))
    page = _parse(folder)
    assert 'script' not in page.tags and 'img' not in page.tags
    assert set(page.tags) == set(harmless.tags)
    assert not [name for name, _ in page.attributes if name.startswith('on')]
    assert page.text.count(EVIL) >= 5  # score, optimizer, module, environment, warning
    assert 'a"><script>b' in page.text


def test_a_hostile_prediction_stays_text(tmp_path):
    window = dict(phi=[0.9, 0.5], error=[0.01, 0.02], count=50, images=4.0)
    measured = [dict(batch=16, blocks=2, phi=[0.7, 0.3], error=[0.02, 0.02])]
    seed = dict(seed=0, updates=[5, 9], window=window, same_weights=window, measured=measured)
    result = dict(
        format='agvm_mm prediction 1', name=EVIL, modules=['backbone', EVIL], anchor='backbone',
        plan=dict(images=1, samples=4, updates=10, multiples=[4]), clamp=[0.5, 10], seeds=[seed],
    )  # fmt: skip
    folder = _work_dir(tmp_path / 'a', [_entry(10)])
    (folder / 'prediction.json').write_text(json.dumps(result))
    (folder / 'other.json').write_text('[1')
    page = _parse(folder)
    assert 'img' not in page.tags and EVIL in page.text
    # phi(24) = 1 / (1 + 6 * 1/9) and the error at 16: 1 / (1 + 4/9) / 0.7 - 1.
    assert '0.600 (' in page.text and '-1.1 %' in page.text


def test_no_warning_without_a_cause(tmp_path):
    entries = [_entry(step) for step in range(20, 1001, 20)]
    run = read_run(_work_dir(tmp_path / 'a', entries))
    assert findings(run) == []


@pytest.mark.parametrize(
    ('more', 'change', 'log', 'words'),
    [
        ('momentum=0.97', {}, LOG, '3 estimates are fewer than the 33'),
        ("average='scale', momentum=0.9", {}, LOG, '1 still weighs 73%'),
        ('momentum=0.5', {'scale': math.sqrt(10)}, LOG, 'scale of neck lay at the clamp (3.162)'),
        ('momentum=0.5', {'loss': math.nan}, LOG, 'loss was not finite at iteration 20'),
        ('momentum=0.5', {'agvm/phi_high/neck': 1.1}, LOG, 'no signal of neck'),
        (
            'momentum=0.5',
            {},
            LOG + 'WARNING - AGVM: gradients were not finite at update 7; the estimate',
            'not finite at update 7',
        ),
    ],
)
def test_warnings(tmp_path, more, change, log, words):
    entry = _entry(20, **change)
    found = findings(read_run(_work_dir(tmp_path / 'a', [entry], more, log)))
    assert [text for text in found if words in text], found


def test_a_run_without_agvm_has_a_page_too(tmp_path):
    entry = {'iter': 5, 'step': 5, 'loss': 1.0}
    page = _parse(_work_dir(tmp_path / 'a', [entry], log=''))
    assert 'measured no gradient variance' in page.text


def test_a_resumed_run_counts_the_later_log(tmp_path):
    folder = _work_dir(tmp_path / 'a', [_entry(10), _entry(20)])
    later = folder / '20260102_000000' / 'vis_data'
    later.mkdir(parents=True)
    (later / 'scalars.json').write_text(json.dumps(_entry(20, loss=9.0)))
    run = read_run(folder)
    assert run.losses['loss'] == [(10, 0.3), (20, 9.0)]


def test_a_run_that_begins_again_replaces_what_was_there(tmp_path):
    """Curves, scores and what the log says are those of the last run alone."""
    warned = LOG + 'WARNING - AGVM: gradients were not finite at update 7; the estimate'
    folder = _work_dir(tmp_path / 'a', [_entry(10), _entry(20)], log=warned)
    later = folder / '20260102_000000' / 'vis_data'
    later.mkdir(parents=True)
    (later / 'scalars.json').write_text(json.dumps(_entry(10, loss=9.0)))
    (later.parent / 'b.log').write_text(LOG.replace('GPU number: 3', 'GPU number: 5'))
    run = read_run(folder)
    assert run.losses['loss'] == [(10, 9.0)] and run.scores == {}
    assert run.history is not None and len(run.history.curves['phi']['neck']) == 1
    assert (run.skipped, run.ranks) == (None, 5)


def test_the_settings_of_a_scoped_wrapper_are_read(tmp_path):
    folder = _work_dir(tmp_path / 'a', [_entry(20)], 'momentum=0.97')
    config = folder / '20260101_000000' / 'vis_data' / 'config.py'
    text = config.read_text().replace("type='AGVM", "type='agvm_mm.AGVM")
    config.write_text(text)
    run = read_run(folder)
    assert run.agvm is not None and run.agvm.interval == 2
    assert any('3 estimates are fewer' in text for text in findings(run))
    assert 'one every 2 updates' in _Parser(render_page(run)).text
    config.write_text(text.replace('interval=2', 'interval=1'))
    assert 'estimates, one every 1 update from' in _Parser(render_page(read_run(folder))).text
    config.write_text(text.replace('agvm_mm.AGVMOptimWrapper', 'OptimWrapper'))
    assert read_run(folder).agvm is None


def test_a_config_is_read_and_not_executed(tmp_path):
    text = f"open({str(tmp_path / 'x')!r}, 'w')\na = dict(b=[1, dict(c=-2.5)], d={{'e': (None,)}})"
    text += f"\nf = open({str(tmp_path / 'x')!r}, 'w')\ng = dict(**a)"
    text += "\nh = dict(a, b=1)\ni = {**a, 'b': 1}"
    assert read_literals(text) == {'a': {'b': [1, {'c': -2.5}], 'd': {'e': [None]}}}
    assert not (tmp_path / 'x').exists()
    assert read_literals('not python (') == {}


def test_the_tool(tmp_path):
    folder = _work_dir(tmp_path / 'a', [_entry(10)])
    printed = run_tool('analysis_tools/report.py', folder)
    assert printed.strip() == str(folder / 'report.html')
    assert (folder / 'report.html').read_text().startswith('<!DOCTYPE html>')
    printed = run_tool('analysis_tools/report.py', tmp_path, fails=True)
    assert 'give the work directory of a run' in printed and 'Traceback' not in printed
