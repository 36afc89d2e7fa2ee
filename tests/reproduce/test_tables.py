"""What a published figure has to say; every recipe has its cells."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from logs import evaluation, train_line, write_run

from agvm_runs.reproduce import TABLES, rows_of
from agvm_runs.reproduce.commands import Hardware
from agvm_runs.reproduce.figures import Source
from agvm_runs.reproduce.published import entries
from agvm_runs.reproduce.recipes import METHODS, parse_recipe

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@pytest.mark.parametrize('entry', entries(), ids=lambda entry: entry['table'])
def test_a_published_figure_says_what_of_which_cell_and_where_it_was_read(entry: dict) -> None:
    table = TABLES[entry['table']]
    place = (entry['model'], entry['method'], entry['batch'])
    figure = table.figures[place]
    assert (figure.value, figure.outcome) == (entry.get('value'), entry.get('outcome', ''))
    assert (figure.value is None) == bool(figure.outcome)
    assert figure.source is Source[entry['source'].upper()]
    quoted = {'pmd-lamb'} if entry['model'] != 'UniNet-G detector' else {place[1]}
    assert (place in table.cells(CONFIGS)) == (place[1] not in quoted)
    assert set(entry.get('time', ())) in (set(), {'text', 'hardware', 'source'})


def test_every_published_figure_is_in_a_table() -> None:
    places = [(e['table'], e['model'], e['method'], e['batch']) for e in entries()]
    in_tables = [(name, *place) for name, table in TABLES.items() for place in table.figures]
    assert sorted(places) == sorted(in_tables)
    assert len(set(places)) == len(places)


def test_a_third_partys_figure_is_never_called_published() -> None:
    """Of the table of Faster R-CNN the authors give two scores at batch 1536 and no other."""
    figures = TABLES['faster_rcnn'].figures
    published = {place for place, figure in figures.items() if figure.source.published}
    assert {place[1:] for place in published} == {('agvm-adamw', 1536), ('pmd-lamb', 1536)}


def test_the_readme_quotes_the_file() -> None:
    rows = {}
    for row, methods in (('baseline', ('sgd', 'sgd-released')), ('AGVM', (None, 'agvm-released'))):
        cells = []
        for name, model in (('faster_rcnn', 'faster-rcnn_r50'), ('mask_rcnn', 'mask-rcnn_r50')):
            figures = TABLES[f'{name}_released'].figures
            places = [(model, methods[batch > 32], batch) for batch in (32, 256, 512)]
            texts = [str(figures[place]) if place[1] else '-' for place in places]
            cells.append(f'| {row} | {" | ".join(texts)} |')
        rows[row] = ' '.join(cells)
    readme = (CONFIGS.parent / 'README.md').read_text().splitlines()
    assert set(rows.values()) <= set(readme)


def test_every_recipe_has_a_cell() -> None:
    """But for models without a table, and two whose table has one batch, in a file of its own."""
    no_table = ('rtmdet', 'dino', 'mask2former', 'segformer')
    cells = [cell for table in TABLES.values() for cell in table.cells(CONFIGS).values()]
    files = {
        path
        for path in CONFIGS.glob('[!_]*/*.py')
        if path.stem.endswith(('_coco', '_ade20k-512x512')) or path.parent.name == 'miniature'
        if path.parent.name not in no_table
    }
    without = {path.name for path in files - {cell.recipe.path for cell in cells}}
    assert without == {
        'retinanet_r18_fpn_agvm-sgd_8xb2-12e_coco.py',
        'cascade-mask-rcnn_swin-l_fpn_agvm-adamw_8xb2-11e-amp_coco.py',
    }


@pytest.mark.parametrize('name', TABLES)
def test_every_place_of_a_table_is_one_cell(name: str, tmp_path: Path) -> None:
    table = TABLES[name]
    cells = table.cells(CONFIGS)
    assert all(list(CONFIGS.glob(pattern)) for pattern in table.recipes)
    assert {cell.method for cell in cells.values()} <= set(METHODS)
    assert len({cell.name for cell in cells.values()}) == len(cells) > 0
    rows = rows_of(table, CONFIGS, tmp_path)
    assert len({(row.model, row.method, row.batch) for row in rows}) == len(rows)
    quoted = sorted(set(table.figures) - set(cells))
    assert [row.batch for row in rows if not row.config] == [place[2] for place in quoted]


def test_a_name_that_does_not_follow_the_rule_is_no_recipe() -> None:
    assert parse_recipe(Path('faster-rcnn_r50_fpn_1x_coco.py')) is None


def row_of(
    work_root: Path,
    hardware: Hardware | None = None,
    batch: int = 1536,
    method: str = 'AGVM + AdamW',
    seed: int = 0,
):
    rows = rows_of(TABLES['faster_rcnn'], CONFIGS, work_root, seed, hardware)
    (row,) = (row for row in rows if (row.batch, row.method) == (batch, method))
    return row


STEM = 'faster-rcnn_r50_fpn_agvm-adamw_768xb2-12e_coco'


class TestRow:
    def test_mean_spread_and_difference(self, tmp_path: Path) -> None:
        scores = {0: 0.361, 1: 0.367, 2: 0.371}
        for seed, score in scores.items():
            write_run(
                tmp_path / f'{STEM}_seed{seed}',
                [train_line(1, 10), evaluation(12, coco__bbox_mAP=score)],
            )
        write_run(
            tmp_path / f'{STEM}_seed3', [train_line(1, 10), evaluation(5, coco__bbox_mAP=0.9)]
        )
        row = row_of(tmp_path)
        assert row.seeds == (0, 1, 2)
        assert row.mean == pytest.approx(36.633333, abs=1e-5)
        assert row.spread == pytest.approx(statistics.stdev([36.1, 36.7, 37.1]))
        assert row.difference == pytest.approx(36.633333 - 36.6, abs=1e-5)
        assert len(row.running) == 1
        assert row.running[0].startswith('seed 3: epoch 1/12')
        assert row.running[0].endswith('90.0 so far')

    def test_one_run_has_no_spread(self, tmp_path: Path) -> None:
        write_run(tmp_path / STEM, [train_line(1, 10), evaluation(12, coco__bbox_mAP=0.36)])
        row = row_of(tmp_path)
        assert (row.spread, row.seeds) == (None, (None,))

    def test_nothing_measured_is_nothing(self, tmp_path: Path) -> None:
        row = row_of(tmp_path)
        assert (row.mean, row.spread, row.difference, row.running) == (None, None, None, ())

    def test_a_measured_cell_that_nobody_published_has_no_difference(self, tmp_path: Path) -> None:
        stem = 'faster-rcnn_r50_fpn_agvm-sgd_8xb2-12e_coco_batch1536'
        write_run(tmp_path / stem, [train_line(1, 10), evaluation(12, coco__bbox_mAP=0.36)])
        row = row_of(tmp_path, method='AGVM + SGD')
        assert (row.figure, row.difference) == (None, None)
        assert row.mean == pytest.approx(36.0)


class TestPlan:
    def test_on_the_hardware_of_the_recipe(self) -> None:
        plan = row_of(Path('out'), seed=3).plan
        config, work_dir = f'configs/faster_rcnn/{STEM}.py', f'out/{STEM}_seed3'
        assert (plan.gpus, plan.images, plan.micro_batches) == (768, 2, 1)
        assert plan.torchrun == (
            'NNODES=96 NODE_RANK=$NODE_RANK MASTER_ADDR=$MASTER_ADDR bash tools/dist_train.sh '
            f'{config} 8 --work-dir {work_dir} --seed 3'
        )
        assert plan.slurm == (
            'GPUS=768 GPUS_PER_NODE=8 bash tools/slurm_train.sh $PARTITION agvm-adamw_1536 '
            f'{config} {work_dir} --seed 3'
        )
        assert plan.time == "4.2 min on 768 A100 (the paper's title)"

    def test_another_batch_is_the_recipe_and_the_batch(self) -> None:
        plan = row_of(Path('out'), batch=512, method='AGVM + SGD', seed=1).plan
        stem = 'faster-rcnn_r50_fpn_agvm-sgd_8xb2-12e_coco'
        options = (
            '--seed 1 --total-batch-size 512 --auto-scale-lr '
            '--cfg-options train_dataloader.batch_size=16'
        )
        assert (plan.gpus, plan.images, plan.micro_batches) == (32, 16, 1)
        assert plan.torchrun.endswith(
            f'configs/faster_rcnn/{stem}.py 8 --work-dir out/{stem}_batch512_seed1 {options}'
        )
        assert plan.slurm.endswith(
            f'agvm-sgd_512 configs/faster_rcnn/{stem}.py out/{stem}_batch512_seed1 {options}'
        )

    def test_a_linear_rate_is_a_cell_of_its_own(self) -> None:
        plan = row_of(Path('out'), batch=1536, method='SGD, linear lr').plan
        stem = 'faster-rcnn_r50_fpn_sgd_8xb2-12e_coco'
        assert plan.torchrun.endswith(
            f'{stem}.py 8 --work-dir out/{stem}_batch1536-linear_seed0 '
            '--seed 0 --total-batch-size 1536 --scale-rule linear'
        )

    def test_on_fewer_gpus(self) -> None:
        plan = row_of(Path('out'), Hardware(gpus=4)).plan
        assert (plan.gpus, plan.micro_batches, plan.time) == (4, 192, '')
        assert plan.torchrun.startswith('bash tools/dist_train.sh configs/')
        assert f'{STEM}.py 4 --work-dir' in plan.torchrun
        assert plan.slurm.startswith('GPUS=4 GPUS_PER_NODE=4 ')

    def test_time_from_a_measured_speed(self) -> None:
        # 12 epochs of 117,266 images, 0.05 s each, on 8 GPUs
        plan = row_of(Path('out'), Hardware(gpus=8, seconds_per_image=0.05)).plan
        assert plan.time == '2.4 h at 0.05 GPU s an image'

    def test_time_of_a_length_in_updates(self) -> None:
        rows = rows_of(TABLES['sem_fpn'], CONFIGS, Path('out'), 0, Hardware(None, 8, 0.01))
        (row,) = (r for r in rows if (r.batch, r.method) == (1024, 'AGVM + SGD'))
        # 1250 updates of 1024 images on 1024 / 4 GPUs
        assert row.plan.time.startswith(f'{1250 * 4 * 0.01 / 60:.1f} min')

    def test_a_cell_without_a_known_time_has_none(self) -> None:
        assert row_of(Path('out'), batch=32).plan.time == ''

    @pytest.mark.parametrize(
        ('hardware', 'sentence'),
        [
            (Hardware(gpus=5), '5 GPUs x 4 images do not divide the batch of 32'),
            (Hardware(gpus=4, per_node=3), 'do not fill machines of 3'),
        ],
    )
    def test_what_no_command_can_meet(self, hardware: Hardware, sentence: str) -> None:
        row = row_of(Path('out'), hardware, batch=32, method='SGD')
        assert row.plan is None and sentence in row.obstacle

    def test_a_cell_that_cannot_leaves_the_others_their_commands(self) -> None:
        rows = rows_of(TABLES['mask_rcnn'], CONFIGS, Path('out'), 0, Hardware(gpus=16))
        small = [row for row in rows if row.config and row.batch == 32]
        large = [row for row in rows if row.config and row.batch > 32]
        assert small and all(row.plan is None and row.obstacle for row in small)
        assert large and all(row.plan and not row.obstacle for row in large)
