"""Real trainings under a curriculum, as tools/train.py starts them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from mmengine.hooks import Hook

pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')

import training_runs as runs
from launcher import run_tool

CONFIG = Path(__file__).with_name('curriculum_faster_rcnn.py')
EPOCHS, LENGTH = 6, 3
RATIOS = [0.5] * 6 + [0.7] * 6 + [1.0] * 6


class Observe(Hook):
    """What every iteration was made with; kept by rank through a file."""

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.seen: list[tuple[int, float, tuple[int, ...], float, float]] = []

    def before_train(self, runner: Any) -> None:
        runner.model.register_forward_pre_hook(self._look, with_kwargs=True)
        self.runner = runner

    def _look(self, module: Any, args: Any, kwargs: Any) -> None:
        from agvm_mm.curriculum import GrowingAugment

        inputs = kwargs['inputs'] if 'inputs' in kwargs else args[0]
        model = getattr(module, 'module', module)
        transforms = self.runner.train_dataloader.dataset.pipeline.transforms
        (augment,) = (item for item in transforms if isinstance(item, GrowingAugment))
        self.seen.append(
            (
                self.runner.iter,
                model.data_preprocessor.ratio,
                tuple(inputs.shape[-2:]),
                augment.strength,
                self.runner.optim_wrapper.optimizer.param_groups[0]['lr'],
            )
        )

    def after_train(self, runner: Any) -> None:
        lines = '\n'.join(map(repr, self.seen))
        (Path(runner.work_dir) / f'seen{runner.rank}.txt').write_text(lines)


@pytest.fixture(scope='module')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.draw_scenes(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='module')
def whole(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work_dir = tmp_path_factory.mktemp('whole')
    runs.train(scenes, work_dir, config=CONFIG, hooks=[Observe()])
    return work_dir


def seen(work_dir: Path, rank: int) -> list[Any]:
    return [eval(line) for line in (work_dir / f'seen{rank}.txt').read_text().splitlines()]


class TestWhole:
    def test_stages_and_length(self, whole: Path) -> None:
        found = seen(whole, 0)
        assert [row[0] for row in found] == list(range(EPOCHS * LENGTH))
        assert [row[1] for row in found] == RATIOS
        assert [row[2] for row in found] == [
            {0.5: (32, 32), 0.7: (48, 48), 1.0: (64, 64)}[ratio] for ratio in RATIOS
        ]
        assert [row[3] for row in found] == [0.0] * 3 + [3.0] * 3 + [5.0] * 6 + [9.0] * 6

    def test_both_ranks_see_the_same(self, whole: Path) -> None:
        assert seen(whole, 0) == seen(whole, 1)

    def test_learning_rates_are_those_of_the_compute(self, whole: Path) -> None:
        """Nine steps of the run at full size; warm-up over five, a milestone after six."""
        spent, expected = 0.0, []
        for ratio in RATIOS:
            step = int(spent / (6 * 0.25 + 6 * 0.49 + 6) * 9 + 1e-6)
            warm_up = 0.1 + 0.9 * min(step, 4) / 4
            expected.append(0.02 * warm_up * (0.1 if step >= 6 else 1.0))
            spent += ratio**2
        assert [row[4] for row in seen(whole, 0)] == pytest.approx(expected)

    def test_agvm_restarts_where_the_stage_changes(self, whole: Path) -> None:
        counts = [
            runs.load(whole / f'epoch_{epoch}.pth')['optimizer']['agvm']['modules']['backbone'][
                'estimates'
            ]
            for epoch in range(1, EPOCHS + 1)
        ]
        assert counts == [3, 6, 3, 6, 3, 6]

    def test_no_stage_is_in_the_checkpoint(self, whole: Path) -> None:
        keys = runs.load(whole / 'epoch_6.pth')['state_dict']
        assert not any('ratio' in key for key in keys)


@pytest.mark.parametrize('epoch', [1, 2, 3, 5])
def test_resumed_in_a_stage_it_ends_the_same_bit_for_bit(
    scenes: Path, whole: Path, tmp_path: Path, epoch: int
) -> None:
    """In the middle of each of the three stages, and where two of them meet."""
    shutil.copy(whole / f'epoch_{epoch}.pth', tmp_path)
    checkpoint = tmp_path / f'epoch_{epoch}.pth'
    stop = {'train_cfg.max_epochs': 3}
    runs.train(scenes, tmp_path, config=CONFIG, resume=checkpoint, options=stop)
    resumed, uninterrupted = (
        runs.training_state(runs.load(folder / 'epoch_6.pth')) for folder in (tmp_path, whole)
    )
    assert runs.differences(resumed, uninterrupted) == []


@pytest.mark.slow
@pytest.mark.parametrize('poly2mask', [True, False], ids=['bitmaps', 'polygons'])
def test_mask_rcnn_trains(scenes: Path, tmp_path: Path, poly2mask: bool) -> None:
    """Statistics are carried over by default."""
    config = CONFIG.with_name('curriculum_mask_rcnn.py')
    options = {'train_dataloader.dataset.pipeline.1.poly2mask': poly2mask}
    first, second = runs.train(scenes, tmp_path, config=config, options=options)
    assert runs.differences(first['weights'], second['weights']) == []
    assert all(weight.isfinite().all() for weight in first['weights'])
    steps = first['steps']
    assert len(steps) == 4 * LENGTH  # 2 (0.5 / 0.36 + 0.5) = 3.8 epochs
    assert [step['modules']['backbone']['estimates'] for step in steps] == list(range(1, 13))


@pytest.mark.slow
def test_the_tool_itself_resumes_in_a_stage(scenes: Path, whole: Path, tmp_path: Path) -> None:
    shutil.copy(whole / 'epoch_3.pth', tmp_path)
    run_tool(
        'dist_train.sh',
        CONFIG,
        2,
        '--work-dir',
        tmp_path,
        '--resume',
        tmp_path / 'epoch_3.pth',
        data=scenes,
    )
    resumed, uninterrupted = (
        runs.training_state(runs.load(folder / 'epoch_6.pth')) for folder in (tmp_path, whole)
    )
    assert runs.differences(resumed, uninterrupted) == []
