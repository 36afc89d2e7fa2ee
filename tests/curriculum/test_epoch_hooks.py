"""Hooks that act at an epoch or iteration mean the run at full size."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from curriculum_toy import OneWeight, run
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import TRANSFORMS

from agvm_mm.compat import has_compiled_ops
from agvm_mm.curriculum.epoch_hooks import follow_compute
from agvm_mm.curriculum.stages import Schedule, Stage

# Four epochs of four iterations at full size: eight at a quarter of the cost, then two.
HALF_FIRST = [dict(share=0.5, ratio=0.5, strength=10), dict(share=0.5, ratio=1, strength=10)]
LAID_OUT = Schedule((Stage(0.5, 0.5), Stage(0.5, 1.0)), (32, 40))
needs_mmdet = pytest.mark.skipif(not has_compiled_ops(), reason='mmdet needs the ops of mmcv')


def follow(**settings: Any) -> dict[str, Any]:
    hook = Hook()
    vars(hook).update(settings)
    follow_compute([hook], LAID_OUT, 16, 4, 4)
    return vars(hook)


class TestPlaces:
    @pytest.mark.parametrize(
        ('name', 'value', 'place'),
        [
            ('switch_epoch', 1, 4),
            ('switch_epoch', 2, 8),
            ('switch_epoch', 3, 9),
            ('switch_epoch', 4, 10),
            ('begin_epoch', 1, 1),  # EMAHook counts from 1
            ('begin_epoch', 2, 5),
            ('begin_epoch', 4, 10),
            ('begin_iter', 1, 1),
            ('begin_iter', 9, 33),
            ('begin_iter', 10, 34),
            ('num_last_epochs', 1, 1),  # YOLOXModeSwitchHook: in the epoch before the last
            ('num_last_epochs', 2, 5),  # of four epochs in the second on; of ten in the fifth
            ('num_last_epochs', 3, 9),
            ('epochs', (1, 3), (4, 9)),
        ],
    )
    def test_by_hand(self, name: str, value: Any, place: Any) -> None:
        assert follow(**{name: value}) == {name: place}

    def test_what_lies_beyond_the_run_stays_beyond_it(self) -> None:
        assert follow(switch_epoch=5)['switch_epoch'] > 10
        assert follow(begin_iter=17)['begin_iter'] > 40

    @pytest.mark.parametrize('value', [0, -1, None, True, 1.5, 'x', (), [1, None]])
    def test_what_counts_nothing_is_left_alone(self, value: Any) -> None:
        assert follow(switch_epoch=value)['switch_epoch'] is value

    @pytest.mark.parametrize('name', ['switch_epoch', 'num_last_epochs', 'begin_iter'])
    def test_at_full_size_nothing_moves(self, name: str) -> None:
        for length in range(1, 30):
            schedule = Schedule((Stage(1.0, 1.0),), (length * 7,))
            for value in range(1, length):
                hook = Hook()
                setattr(hook, name, value)
                follow_compute([hook], schedule, length * 7, length, 7)
                assert getattr(hook, name) == value


class TestSaid:
    @pytest.fixture(autouse=True)
    def _said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[tuple[str, int]] = []
        monkeypatch.setattr(
            'agvm_mm.curriculum.epoch_hooks.print_log',
            lambda text, logger, level=logging.INFO: self.said.append((text, level)),
        )

    def test_a_change_is_said(self) -> None:
        follow(switch_epoch=3)
        (said,) = self.said
        assert said == (
            'Curriculum: Hook.switch_epoch = 3 becomes 9, at the same share of the compute',
            logging.INFO,
        )

    @pytest.mark.parametrize('name', ['warm_up_epochs', 'start_iter', 'epoch', 'iterations'])
    def test_a_count_of_unknown_meaning_is_left_with_a_warning(self, name: str) -> None:
        assert follow(**{name: 3}) == {name: 3}
        (said,) = self.said
        assert f'Hook.{name} = 3 counts' in said[0] and said[1] == logging.WARNING

    def test_nothing_is_said_where_all_is_well(self, tmp_path: Path) -> None:
        """Of MMEngine's default hooks and of averaged weights among others."""
        follow(switch_epoch=0, interval=3, filter=3, _epoch=3, by_epoch=True)
        run(
            tmp_path,
            dict(stages=HALF_FIRST),
            custom_hooks=[
                dict(type='CurriculumHook', stages=HALF_FIRST),
                dict(type='EMAHook'),
                dict(type='SeedEpochHook'),
                dict(type='EarlyStoppingHook', monitor='loss'),
            ],
            default_hooks=dict(param_scheduler=dict(type='ComputeParamSchedulerHook')),
        )
        assert self.said == []


def test_averaged_weights_begin_at_their_share_of_the_compute(tmp_path: Path) -> None:
    """From the third epoch of four on, the ninth of ten: until then the average is the weight."""
    lags = []

    class Look(Hook):
        priority = 'LOWEST'

        def after_train_epoch(self, runner: Any) -> None:
            (ema,) = (hook for hook in runner.hooks if isinstance(hook, EMAHook))
            lags.append(float(ema.ema_model.module.weight - runner.model.weight) != 0)

    run(
        tmp_path,
        None,
        custom_hooks=[
            dict(type='CurriculumHook', stages=HALF_FIRST),
            dict(type='EMAHook', begin_epoch=3),
            Look(),
        ],
    )
    assert lags == [False] * 8 + [True] * 2


class Count:
    """Counts the images that it is applied to."""

    calls = 0

    def __call__(self, results: Any) -> Any:
        type(self).calls += 1
        return results


class CountEpochs(Hook):
    def __init__(self) -> None:
        self.images: list[int] = []

    def before_train_epoch(self, runner: Any) -> None:
        Count.calls = 0

    def after_train_epoch(self, runner: Any) -> None:
        self.images.append(Count.calls)


@needs_mmdet
@pytest.mark.parametrize('where', ['alone', 'random_apply', 'choice', 'nested'])
@pytest.mark.parametrize('switch', [1, 3])
def test_augmentation_goes_on_in_a_pipeline_that_is_switched_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, switch: int
) -> None:
    import mmcv.transforms  # noqa: F401  registers
    import mmdet.engine.hooks  # noqa: F401  registers

    monkeypatch.setitem(TRANSFORMS.module_dict, 'CountingTransform', Count)
    grow: Any = dict(type='GrowingAugment', transforms=[dict(type='CountingTransform')])
    if where == 'random_apply':
        grow = dict(type='mmcv.RandomApply', transforms=[grow], prob=1.0)
    elif where == 'choice':
        grow = dict(type='mmcv.RandomChoice', transforms=[[grow], [grow]])
    elif where == 'nested':
        inner = dict(type='mmcv.RandomApply', transforms=[grow], prob=1.0)
        grow = dict(type='mmcv.RandomApply', transforms=[inner], prob=1.0)
    counts = CountEpochs()
    switcher = dict(type='mmdet.PipelineSwitchHook', switch_epoch=switch, switch_pipeline=[grow])
    run(
        tmp_path,
        None,
        model=OneWeight(),
        custom_hooks=[dict(type='CurriculumHook', stages=HALF_FIRST), switcher, counts],
    )
    begins = {1: 4, 3: 9}[switch]
    assert counts.images == [0] * begins + [8] * (10 - begins)
