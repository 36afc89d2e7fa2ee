"""The hook on a model of one weight: lengths, schedules, batches, replay, workers, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from curriculum_toy import OneWeight, gradient, run
from mmengine.config import Config
from mmengine.model import BaseDataPreprocessor
from mmengine.optim import OptimWrapper, OptimWrapperDict

from agvm_mm.curriculum.presets import PRESETS
from agvm_mm.curriculum.stages import Schedule
from agvm_mm.launch.lengths import schedule_by_micro_batch, schedule_by_update

FULL = [dict(share=1.0, ratio=1.0)]
HALF_FIRST = [dict(share=0.5, ratio=0.5), dict(share=0.5, ratio=1.0)]
SCHEDULES = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=5, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=1, end=4, by_epoch=True, convert_to_iter_based=True),
    dict(type='MultiStepLR', begin=0, end=4, by_epoch=True, milestones=[3], gamma=0.5),
]


def column(rows: list[dict[str, Any]], key: str) -> list[Any]:
    return [row[key] for row in rows]


class TestSchedules:
    @pytest.mark.parametrize(
        'train_cfg', [dict(by_epoch=True, max_epochs=4), dict(by_epoch=False, max_iters=16)]
    )
    def test_at_full_size_all_is_as_without(self, tmp_path: Path, train_cfg: Any) -> None:
        schedules = SCHEDULES if train_cfg['by_epoch'] else SCHEDULES[:1]
        stock = run(
            tmp_path / 'a',
            None,
            train_cfg=train_cfg,
            param_scheduler=schedules,
            scheduler_hook='ParamSchedulerHook',
        )
        ours = run(
            tmp_path / 'b', dict(stages=FULL), train_cfg=train_cfg, param_scheduler=schedules
        )
        assert len(ours) == 16 and column(ours, 'lr') == column(stock, 'lr')
        assert column(ours, 'after') == column(stock, 'after')
        assert len(set(column(ours, 'lr'))) > 3

    def test_rates_are_those_of_the_run_at_full_size_at_the_same_compute(
        self, tmp_path: Path
    ) -> None:
        full = run(tmp_path / 'a', dict(stages=FULL), param_scheduler=SCHEDULES)
        ours = run(tmp_path / 'b', dict(stages=HALF_FIRST), param_scheduler=SCHEDULES)
        assert len(ours) == 40 and column(ours, 'ratio') == [0.5] * 32 + [1.0] * 8
        rates = column(full, 'lr')
        assert column(ours, 'lr')[:32] == [rates[i // 4] for i in range(32)]
        assert column(ours, 'lr')[32:] == rates[8:]
        assert ours[-1]['next_lr'] == full[-1]['next_lr']

    @pytest.mark.parametrize(('iterations', 'counts'), [(15, 2), (16, 3), (10, 4), (5, 7)])
    def test_the_last_update_counts_where_it_takes_what_is_left(
        self, tmp_path: Path, iterations: int, counts: int
    ) -> None:
        updates = -(-iterations // counts)  # by hand: 8, 6, 3, 1
        rows = [
            run(
                tmp_path / name,
                curriculum,
                train_cfg=dict(by_epoch=False, max_iters=iterations),
                optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01), accumulative_counts=counts),
                param_scheduler=[dict(type='ExponentialLR', gamma=0.9, by_epoch=False)],
                default_hooks=dict(
                    param_scheduler=dict(type=hook, accumulative_counts=counts),
                    logger=None,
                    checkpoint=None,
                ),
            )
            for name, curriculum, hook in (
                ('stock', None, 'UpdateParamSchedulerHook'),
                ('full', dict(stages=FULL), 'ComputeParamSchedulerHook'),
                ('grows', dict(stages=HALF_FIRST), 'ComputeParamSchedulerHook'),
            )
        ]
        assert column(rows[0], 'lr') == column(rows[1], 'lr')
        for found in rows:
            assert found[-1]['next_lr'] == pytest.approx(0.01 * 0.9**updates, rel=1e-9)

    @pytest.mark.parametrize(
        ('cfg', 'total'),
        [(dict(by_epoch=False, max_iters=100), 227), (dict(by_epoch=True, max_epochs=10), 23 * 4)],
    )
    def test_length(self, tmp_path: Path, cfg: Any, total: int) -> None:
        rows = run(tmp_path, dict(stages='efficienttrain++'), train_cfg=cfg)
        assert len(rows) == total
        expected = Schedule.divide(PRESETS['efficienttrain++'], total)
        assert column(rows, 'ratio') == [
            PRESETS['efficienttrain++'][expected.stage_at(i)].ratio for i in range(total)
        ]

    def test_whole_epochs_as_published(self, tmp_path: Path) -> None:
        rows = run(
            tmp_path,
            dict(stages='efficienttrain++', whole_epochs=True),
            train_cfg=dict(by_epoch=True, max_epochs=10),
        )
        epochs = [round(ratio * 224) for ratio in column(rows, 'ratio')[::4]]
        assert epochs == [96] * 10 + [160] * 7 + [224] * 4  # rulers 54, 19, 10

    def test_budget(self, tmp_path: Path) -> None:
        rows = run(
            tmp_path, dict(stages='efficienttrain'), train_cfg=dict(by_epoch=False, max_iters=50)
        )
        assert len(rows) == 50 and column(rows, 'ratio').count(5 / 7) == 30


class TestBatches:
    STAGES = [dict(share=0.5, ratio=0.5, batch=3, lr=1.7), dict(share=0.5, ratio=1.0)]

    def test_updates_of_a_stage_take_its_micro_batches(self, tmp_path: Path) -> None:
        rows = run(tmp_path, dict(stages=self.STAGES))
        assert len(rows) == 40
        ends = [i for i, row in enumerate(rows) if row['after'] != row['before']]
        assert ends == [*range(2, 33, 3), *range(33, 40)]
        for begin, end in zip([0, *(e + 1 for e in ends)], ends):
            mean = sum(gradient(row) for row in rows[begin : end + 1]) / (end + 1 - begin)
            lr = 1.7 if end < 33 else 1.0
            step = rows[end]['before'] - rows[end]['after']
            assert step == pytest.approx(lr * mean, abs=1e-4)

    def test_flexible_runner(self, tmp_path: Path) -> None:
        optim = dict(optimizer=dict(type='SGD', lr=1.0), accumulative_counts=3)
        stages = [dict(share=0.5, ratio=0.5), dict(share=0.5, ratio=1.0)]
        runs = [
            run(
                tmp_path / str(flexible),
                dict(stages=stages),
                optim_wrapper=dict(**optim, type='OptimWrapper'),
                flexible=flexible,
            )
            for flexible in (False, True)
        ]
        assert runs[0] == runs[1] and len(runs[0]) == 40

    def test_the_factor_on_the_rate_is_seen_by_no_schedule(self, tmp_path: Path) -> None:
        rows = run(tmp_path, dict(stages=self.STAGES))
        assert column(rows, 'lr') == [1.7] * 33 + [1.0] * 7
        assert set(column(rows, 'next_lr')) == {1.0}

    def test_the_last_update_takes_what_is_left(self, tmp_path: Path) -> None:
        stages = [dict(share=0.5, ratio=1.0), dict(share=0.5, ratio=1.0, batch=3)]
        rows = run(tmp_path, dict(stages=stages))
        ends = [i for i, row in enumerate(rows) if row['after'] != row['before']]
        assert ends == [*range(9), 11, 14, 15]
        step = rows[15]['before'] - rows[15]['after']
        assert step == pytest.approx(gradient(rows[15]), abs=1e-4)

    def test_on_top_of_accumulation(self, tmp_path: Path) -> None:
        optim = dict(optimizer=dict(type='SGD', lr=1.0), accumulative_counts=2)
        rows = run(tmp_path, dict(stages=self.STAGES), optim_wrapper=optim)
        ends = [i for i, row in enumerate(rows) if row['after'] != row['before']]
        assert ends == [5, 11, 17, 23, 29, 31, 33, 35, 37, 39]

    def test_replay_enlarges_the_batches_and_shortens_the_run(self, tmp_path: Path) -> None:
        stages = [dict(share=0.5, ratio=0.5, replay=3, buffer=2), dict(share=0.5, ratio=1.0)]
        rows = run(tmp_path, dict(stages=stages))
        sizes = [len(row['images']) for row in rows]
        # 4 epochs at full size: 4 (0.5 / 0.75 + 0.5) = 4.67, and 0.667 / 1.167 of 20 is 11.4.
        assert sizes == [6] * 11 + [2] * 9
        for index, row in enumerate(rows):
            fresh = [(2 * index) % 8, (2 * index) % 8 + 1]
            assert row['images'][:2] == fresh
            kept = {*fresh, *((value - 2) % 8 for value in fresh if index > 0)}
            assert set(row['images'][2:]) <= kept


class TestAugmentation:
    STAGES = [dict(share=0.25, ratio=0.5, strength=[0, 3]), dict(share=0.75, ratio=1, strength=9)]

    @pytest.mark.parametrize('workers', [0, 1])
    def test_persistent_workers_see_it_grow(self, tmp_path: Path, workers: int) -> None:
        rows = run(tmp_path, dict(stages=self.STAGES), workers=workers)
        assert column(rows, 'ratio') == [0.5] * 16 + [1.0] * 12
        levels = [level for row in rows for level in row['levels']]
        assert levels == [-1.0] * 16 + [3.0] * 16 + [9.0] * 24

    def test_in_a_run_without_epochs(self, tmp_path: Path) -> None:
        rows = run(tmp_path, dict(stages=self.STAGES), train_cfg=dict(by_epoch=False, max_iters=16))
        levels = [row['levels'][0] for row in rows]
        # The batch of an iteration is loaded before its hooks are called.
        assert levels[1:] == [-1.0] * 8 + [3.0] * 8 + [9.0] * 11


class TestRefusals:
    def test_the_stock_schedules(self, tmp_path: Path) -> None:
        sentence = (
            "default_hooks.param_scheduler.type is 'ParamSchedulerHook'; allowed is "
            "'ComputeParamSchedulerHook' with CurriculumHook"
        )
        with pytest.raises(ValueError, match=sentence):
            run(tmp_path, dict(stages=FULL), scheduler_hook='ParamSchedulerHook')

    def test_schedules_by_compute_without_a_curriculum(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match='custom_hooks has no CurriculumHook'):
            run(tmp_path, None)

    def test_a_preprocessor_that_cannot(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="data_preprocessor cannot; allowed is type='LowFreq"):
            run(tmp_path, dict(stages=HALF_FIRST), model=OneWeight(BaseDataPreprocessor()))

    @pytest.mark.parametrize(
        ('wrong', 'sentence'),
        [
            (dict(whole_epochs='no'), "whole_epochs is 'no'; allowed is True or False"),
            (dict(budget=0), 'CurriculumHook.budget is 0; allowed is a positive number'),
            (dict(statistics='keep'), "statistics is 'keep'; allowed is 'carry' or 'restart'"),
        ],
    )
    def test_wrong_values(self, tmp_path: Path, wrong: Any, sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            run(tmp_path, dict(stages=FULL, **wrong))

    def test_whole_epochs_that_end_inside_an_update(self, tmp_path: Path) -> None:
        """Epochs of four iterations, updates of three."""
        sentence = 'whole_epochs is True; allowed is False where epochs of 4 iterations end inside'
        optim = dict(optimizer=dict(type='SGD', lr=1.0), accumulative_counts=3)
        with pytest.raises(ValueError, match=sentence):
            run(tmp_path, dict(stages=HALF_FIRST, whole_epochs=True), optim_wrapper=optim)

    def test_several_optimizers(self, tmp_path: Path) -> None:
        model = OneWeight()
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1.0))
        sentence = 'needs one optimizer for the whole model and optim_wrapper is OptimWrapperDict'
        with pytest.raises(ValueError, match=sentence):
            optim = OptimWrapperDict(all=wrapper)
            run(tmp_path, dict(stages=FULL), model=model, optim_wrapper=optim)

    @pytest.mark.parametrize('replay', [1, 2])
    def test_replay_of_batches_that_were_counted(self, tmp_path: Path, replay: int) -> None:
        """The batches of an update are counted at its start, when only the first is extended."""
        stages = [dict(share=1.0, ratio=1.0, replay=replay, buffer=1)]
        hooks = [dict(type='CurriculumHook', stages=stages), dict(type='ExactAccumulationHook')]
        if replay == 1:
            run(tmp_path, None, custom_hooks=hooks)
            return
        sentence = 'stages.replay is 2; allowed is 1 with ExactAccumulationHook'
        with pytest.raises(ValueError, match=sentence):
            run(tmp_path, None, custom_hooks=hooks)

    def test_whole_epochs_without_epochs(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match='whole_epochs is True; allowed is False'):
            run(
                tmp_path,
                dict(stages=FULL, whole_epochs=True),
                train_cfg=dict(by_epoch=False, max_iters=4),
            )


def test_total_batch_size_keeps_the_hook_of_the_curriculum() -> None:
    hooks = dict(param_scheduler=dict(type='ComputeParamSchedulerHook'))
    cfg = Config(dict(default_hooks=hooks, param_scheduler=[]))
    schedule_by_update(cfg, 4)
    assert cfg.default_hooks.param_scheduler == dict(
        type='ComputeParamSchedulerHook', accumulative_counts=4, converted=[]
    )
    schedule_by_micro_batch(cfg)
    assert cfg.default_hooks.param_scheduler == hooks['param_scheduler']


def test_schedules_count_updates_with_a_total_batch(tmp_path: Path) -> None:
    """Two micro-batches an update: the steps of eight updates, made at updates."""
    optim = dict(optimizer=dict(type='SGD', lr=1.0), accumulative_counts=2)
    hooks = dict(
        param_scheduler=dict(type='ComputeParamSchedulerHook', accumulative_counts=2),
        logger=None,
        checkpoint=None,
    )
    rows = run(
        tmp_path,
        dict(stages=HALF_FIRST),
        optim_wrapper=optim,
        default_hooks=hooks,
        param_scheduler=[dict(type='LinearLR', start_factor=0.1, begin=0, end=9, by_epoch=False)],
    )
    steps = [int((0.25 * min(i, 32) + max(0, i - 32)) / 2) for i in range(0, 41, 2)]
    expected = [0.1 + 0.9 * min(step, 8) / 8 for step in steps]
    assert column(rows, 'lr')[::2] == pytest.approx(expected[:20])
    assert column(rows, 'lr')[1::2] == column(rows, 'lr')[::2]
