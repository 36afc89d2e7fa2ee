"""Which figures the tables call published; every recipe has its cell."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from logs import evaluation, train_line, write_run

from agvm_runs.reproduce import TABLES, rows_of
from agvm_runs.reproduce.commands import Hardware
from agvm_runs.reproduce.recipes import METHODS, parse_recipe

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'

# Written down from the sources, apart from the tables: (table, model, method, batch) -> figure.
PUBLISHED = {
    ('faster_rcnn', 'faster-rcnn_r50', 'agvm-adamw', 1536): 36.6,
    ('faster_rcnn', 'faster-rcnn_r50', 'pmd-lamb', 1536): 33.5,
    ('faster_rcnn_released', 'faster-rcnn_r50', 'sgd', 32): 37.1,
    ('faster_rcnn_released', 'faster-rcnn_r50', 'sgd-released', 256): 36.7,
    ('faster_rcnn_released', 'faster-rcnn_r50', 'sgd-released', 512): 36.2,
    ('faster_rcnn_released', 'faster-rcnn_r50', 'agvm-released', 256): 37.1,
    ('faster_rcnn_released', 'faster-rcnn_r50', 'agvm-released', 512): 36.8,
    ('mask_rcnn', 'mask-rcnn_r50', 'sgd-linear', 1024): 'training fails',
    ('mask_rcnn', 'mask-rcnn_r50', 'sgd-sqrt', 1024): 'training fails',
    ('mask_rcnn_released', 'mask-rcnn_r50', 'sgd', 32): 34.8,
    ('mask_rcnn_released', 'mask-rcnn_r50', 'sgd-released', 256): 34.4,
    ('mask_rcnn_released', 'mask-rcnn_r50', 'sgd-released', 512): 33.9,
    ('mask_rcnn_released', 'mask-rcnn_r50', 'agvm-released', 256): 35.0,
    ('mask_rcnn_released', 'mask-rcnn_r50', 'agvm-released', 512): 34.6,
    ('retinanet', 'retinanet_r18', 'pmd-lamb', 10240): 'NaN',
    ('large', 'UniNet-G detector', 'agvm-adamw', 960): 62.2,
    ('large', 'UniNet-G detector', 'adamw', 960): 'diverges',
    ('large', 'UniNet-G detector', 'pmd-lamb', 960): 'diverges',
}
SECONDARY = {
    ('faster_rcnn', 'faster-rcnn_r50', 'agvm-adamw', 32): 37.1,
    ('faster_rcnn', 'faster-rcnn_r50', 'agvm-adamw', 256): 37.2,
    ('faster_rcnn', 'faster-rcnn_r50', 'agvm-adamw', 512): 36.8,
    ('faster_rcnn', 'faster-rcnn_r50', 'agvm-adamw', 1024): 37.0,
    ('faster_rcnn', 'faster-rcnn_r50', 'adamw-sqrt', 512): 36.2,
    ('faster_rcnn', 'faster-rcnn_r50', 'adamw-sqrt', 1536): 35.9,
    ('faster_rcnn', 'faster-rcnn_r50', 'lamb', 1536): 33.2,
    ('faster_rcnn', 'faster-rcnn_r50', 'agvm-sgd', 512): 36.7,
    ('faster_rcnn', 'faster-rcnn_r50', 'sgd-sqrt', 512): 35.8,
    ('retinanet', 'retinanet_r18', 'agvm-sgd', 10240): 26.7,
}


@pytest.mark.parametrize(('published', 'expected'), [(True, PUBLISHED), (False, SECONDARY)])
def test_figures_are_those_of_their_sources(published: bool, expected: dict) -> None:
    found = {
        (name, *place): figure.outcome if figure.value is None else figure.value
        for name, table in TABLES.items()
        for place, figure in table.figures.items()
        if figure.source.published == published
    }
    assert found == expected


def test_every_recipe_has_a_cell() -> None:
    cells = {recipe.path for table in TABLES.values() for recipe in table.recipes(CONFIGS).values()}
    files = {
        path
        for path in CONFIGS.glob('[!_]*/*.py')
        if path.stem.endswith(('_coco', '_ade20k-512x512')) or path.parent.name == 'miniature'
    }
    assert cells == files and len(files) > 150


@pytest.mark.parametrize('name', TABLES)
def test_every_place_of_a_table_is_one_recipe(name: str, tmp_path: Path) -> None:
    table = TABLES[name]
    paths = {path for pattern in table.patterns for path in CONFIGS.glob(pattern)}
    assert len(table.recipes(CONFIGS)) == len(paths) > 0
    assert {recipe.method for recipe in table.recipes(CONFIGS).values()} <= set(METHODS)
    rows = rows_of(table, CONFIGS, tmp_path)
    assert len({(row.model, row.method, row.batch) for row in rows}) == len(rows)
    assert [row.batch for row in rows if not row.config] == [
        batch
        for place, batch in (
            (place, place[2]) for place in sorted(set(table.figures) - set(table.recipes(CONFIGS)))
        )
    ]


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
        stem = STEM.replace('agvm-adamw', 'agvm-sgd')
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
