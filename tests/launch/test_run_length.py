"""What a run is too short for is said once when it begins, and nothing where all is well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import launch_toy
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from agvm_mm.launch.runner import TrainOptions, build_runner, prepare_training

pytestmark = pytest.mark.usefixtures('quick_start')

MODULES = dict(weight=['conv.weight'], bias=['conv.bias'])
BY_ITERATION = dict(type='CheckpointHook', by_epoch=False, interval=4)


def dataset(images: int) -> dict[str, Any]:
    loader = launch_toy.config(Path()).train_dataloader
    return {**loader, 'dataset': dict(type='LaunchToyDataset', length=images)}


def wrapper(counts: int = 2, **keys: Any) -> dict[str, Any]:
    optimizer = dict(type='SGD', lr=0.1, momentum=0.9)
    return dict(
        type='AGVMOptimWrapper',
        optimizer=optimizer,
        accumulative_counts=counts,
        agvm=dict(modules=MODULES, anchor='weight', interval=1),
        **keys,
    )


def warnings(work_dir: Path, total: int | None = None, **overrides: Any) -> list[str]:
    """What a run of 8 micro-batches, 2 to an update, warns of at its start."""
    entries = dict(
        optim_wrapper=wrapper(),
        train_cfg=dict(by_epoch=False, max_iters=8),
        default_hooks=dict(checkpoint=BY_ITERATION),
    )
    cfg = launch_toy.config(work_dir, **{**entries, **overrides})
    cfg.launcher = 'none'
    build_runner(cfg, prepare_training(cfg, TrainOptions(total_batch_size=total))).train()
    (log,) = work_dir.glob('*/*.log')
    lines = log.read_text().splitlines()
    return [line.partition('WARNING - ')[2] for line in lines if 'WARNING - ' in line]


def named(found: list[str], *words: str) -> list[str]:
    return [text for text in found if any(word in text for word in words)]


ALL = ('never', 'param_scheduler[', 'The data set', 'The run has', 'No gradient', 'checkpoint')


def test_nothing_is_said_where_all_is_well(tmp_path: Path) -> None:
    scheduler = [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=4),
        dict(type='MultiStepLR', by_epoch=False, milestones=[5, 7], end=1000),
        dict(type='CosineAnnealingLR', by_epoch=False, begin=4, end=8),
        dict(type='PolyLR', by_epoch=False),
    ]
    optim_wrapper = wrapper(clip_grad=dict(max_norm=1.0, begin=3))
    optim_wrapper['agvm'].update(begin=3)
    loader = dataset(4)  # one update
    assert (
        named(
            warnings(
                tmp_path,
                param_scheduler=scheduler,
                optim_wrapper=optim_wrapper,
                train_dataloader=loader,
            ),
            *ALL,
        )
        == []
    )


def test_a_data_set_below_one_update(tmp_path: Path) -> None:
    (text,) = named(warnings(tmp_path, train_dataloader=dataset(3)), 'The data set')
    assert text == (
        'The data set has 3 images and an update takes 4 (1 rank x 2 images x 2 micro-batches): '
        'every update sees images more than once; lower total_batch_size or accumulative_counts, '
        'or take more data.'
    )


def test_a_run_below_one_update(tmp_path: Path) -> None:
    found = warnings(
        tmp_path,
        total=64,
        train_dataloader=dataset(10),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper={k: v for k, v in wrapper().items() if k != 'accumulative_counts'},
        default_hooks={},
    )
    (text,) = named(found, 'The run has')
    assert text.startswith('The run has 5 micro-batches and an update takes 32: it makes one ')
    assert named(found, 'The data set') == []


@pytest.mark.parametrize(
    ('begin', 'interval', 'never'), [(3, 1, False), (4, 1, True), (1, 5, True), (0, 5, False)]
)
def test_an_agvm_that_never_measures(
    tmp_path: Path, begin: int, interval: int, never: bool
) -> None:
    """The run has updates 0 to 3."""
    optim_wrapper = wrapper()
    optim_wrapper['agvm'].update(begin=begin, interval=interval)
    every = {1: '1 update', 5: '5 updates'}[interval]
    found = named(warnings(tmp_path, optim_wrapper=optim_wrapper), 'AGVM never measures')
    assert found == never * [
        f'AGVM never measures: it begins at update {begin} (optim_wrapper.agvm.begin) and measures '
        f'every {every} from 0 on (interval), and the run has 4 updates.'
    ]


@pytest.mark.parametrize(('iterations', 'never'), [(7, True), (8, False)])
def test_a_last_update_of_one_micro_batch_measures_nothing(
    tmp_path: Path, iterations: int, never: bool
) -> None:
    optim_wrapper = wrapper()
    optim_wrapper['agvm'].update(begin=3)
    train_cfg = dict(by_epoch=False, max_iters=iterations)
    found = warnings(tmp_path, optim_wrapper=optim_wrapper, train_cfg=train_cfg)
    assert len(named(found, 'AGVM never measures')) == never


@pytest.mark.parametrize(('begin', 'late'), [(3, False), (4, True)])
def test_a_clipping_that_never_begins(tmp_path: Path, begin: int, late: bool) -> None:
    optim_wrapper = wrapper(clip_grad=dict(max_norm=1.0, begin=begin))
    found = named(warnings(tmp_path, optim_wrapper=optim_wrapper), 'No gradient is clipped')
    assert len(found) == late


@pytest.mark.parametrize(
    ('entry', 'sentence'),
    [
        (dict(type='LinearLR', by_epoch=False, end=8), ''),
        (
            dict(type='LinearLR', by_epoch=False, end=9),
            'param_scheduler[0] (LinearLR) ends at iteration 9 and the run has 8 iterations: the '
            'run stops on its way.',
        ),
        (dict(type='MultiStepLR', by_epoch=False, milestones=[7]), ''),
        (
            dict(type='MultiStepLR', by_epoch=False, milestones=[5, 8]),
            'The last milestone of param_scheduler[0] (MultiStepLR) is iteration 8 and the run has '
            '8 iterations: it is never reached.',
        ),
        (
            dict(type='CosineAnnealingLR', by_epoch=False, begin=8, end=12),
            'param_scheduler[0] (CosineAnnealingLR) begins at iteration 8 and the run has 8 '
            'iterations: it never takes effect.',
        ),
    ],
)
def test_a_schedule_beyond_the_run(tmp_path: Path, entry: dict[str, Any], sentence: str) -> None:
    found = named(warnings(tmp_path, param_scheduler=entry), 'param_scheduler[')
    assert found == ([sentence] if sentence else [])


@pytest.mark.parametrize(('end', 'unit'), [(4, ''), (5, '5 and the run has 4 updates')])
def test_a_schedule_in_updates(tmp_path: Path, end: int, unit: str) -> None:
    found = warnings(
        tmp_path,
        total=4,
        train_cfg=dict(by_epoch=False, max_iters=4),
        default_hooks={},
        param_scheduler=[dict(type='LinearLR', by_epoch=False, end=end)],
    )
    found = named(found, 'param_scheduler[')
    assert len(found) == bool(unit) and all(f'ends at update {unit}' in text for text in found)


def test_a_schedule_in_epochs(tmp_path: Path) -> None:
    """And one that MMEngine turns into iterations, whose end is in those."""
    found = warnings(
        tmp_path,
        total=4,
        train_dataloader=dataset(8),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        default_hooks={},
        param_scheduler=[
            dict(type='LinearLR', by_epoch=True, end=3),
            dict(type='LinearLR', by_epoch=True, end=3, convert_to_iter_based=True),
            dict(type='LinearLR', by_epoch=True, end=2, convert_to_iter_based=True),
        ],
    )
    assert [text.partition(':')[0] for text in named(found, 'param_scheduler[')] == [
        'param_scheduler[0] (LinearLR) ends at epoch 3 and the run has 2 epochs',
        'param_scheduler[1] (LinearLR) ends at iteration 12 and the run has 8 iterations',
    ]


@pytest.mark.parametrize(
    ('entry', 'sentence'),
    [
        (dict(type='LinearLR', end=1), 'is set for epochs 0 to 1'),
        (dict(type='MultiStepLR', milestones=[8, 11], end=12), 'is set for epochs 0 to 12'),
        (dict(type='LinearLR', end=1, convert_to_iter_based=True), ''),
    ],
)
def test_a_schedule_in_epochs_in_a_run_of_iterations(
    tmp_path: Path, entry: dict[str, Any], sentence: str
) -> None:
    """Such a run is one epoch for MMEngine: even a schedule of one epoch steps at its end."""
    found = named(
        warnings(tmp_path, param_scheduler=entry, train_dataloader=dataset(8)), 'param_scheduler['
    )
    assert len(found) == bool(sentence)
    for text in found:
        assert text == (
            f'param_scheduler[0] ({entry["type"]}) {sentence}, and the run has 8 iterations and '
            'no epochs: it steps once, at the end of the run; set by_epoch=False and its lengths '
            'in iterations, or convert_to_iter_based=True.'
        )


@pytest.mark.parametrize(
    ('images', 'interval', 'epochs'), [(10, 1, 2), (8, 1, 0), (10, 2, 0), (10, 3, 2), (10, 4, 0)]
)
def test_a_checkpoint_inside_an_update(
    tmp_path: Path, images: int, interval: int, epochs: int
) -> None:
    found = warnings(
        tmp_path,
        train_dataloader=dataset(images),
        train_cfg=dict(by_epoch=True, max_epochs=4),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=interval)),
    )
    found = named(found, 'falls inside an update')
    assert len(found) == bool(epochs)
    for text in found:
        assert text.startswith('An epoch has 5 micro-batches and an update 2, so that the ')
        assert f'checkpoint of epoch {interval} falls' in text
        assert f'checkpoint.interval to a multiple of {epochs},' in text


def test_a_checkpoint_by_the_iteration_moves_to_the_end_of_an_update(tmp_path: Path) -> None:
    """And a run that is resumed from it is the one without interruption, bit for bit."""
    hook = dict(type='CheckpointHook', by_epoch=False, interval=3)
    found = named(warnings(tmp_path, default_hooks=dict(checkpoint=hook)), 'A checkpoint')
    assert found == [
        'A checkpoint is saved every 4 iterations from iteration 0 on, not every 3 from 0 on: that '
        'is at the end of an update of 2 micro-batches, where nothing is lost.'
    ]
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['iter_4.pth', 'iter_8.pth']
    whole = torch.load(tmp_path / 'iter_8.pth', weights_only=False)['state_dict']
    cfg = launch_toy.config(
        tmp_path / 'again',
        optim_wrapper=wrapper(),
        train_cfg=dict(by_epoch=False, max_iters=8),
        default_hooks=dict(checkpoint=hook),
    )
    cfg.launcher = 'none'
    options = TrainOptions(resume=str(tmp_path / 'iter_4.pth'))
    runner = build_runner(cfg, prepare_training(cfg, options))
    runner.train()
    resumed = runner.model.state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in resumed.items())


@pytest.mark.parametrize('hooks', [[], [dict(type='SeedEpochHook')]])
@pytest.mark.parametrize('kind', ['OptimWrapper', 'AGVMOptimWrapper'])
def test_a_total_batch_under_another_launcher(
    tmp_path: Path, kind: str, hooks: list[dict[str, Any]]
) -> None:
    """MMEngine alone: the wrapper notices, or a hook of ours with a stock wrapper."""
    entries: dict[str, Any] = dict(wrapper(), type=kind)
    if kind == 'OptimWrapper':
        entries.pop('agvm')
    cfg = launch_toy.config(tmp_path, optim_wrapper=entries, custom_hooks=hooks)
    Runner.from_cfg(cfg).train()
    if kind == 'OptimWrapper' and not hooks:
        return  # nothing of ours is in such a run
    cfg = launch_toy.config(
        tmp_path / 'total',
        optim_wrapper=entries,
        custom_hooks=hooks,
        total_batch_size=64,
        experiment_name='total',
    )
    with pytest.raises(
        ValueError, match='64 in the config, and the launcher of this run does not know it'
    ):
        Runner.from_cfg(cfg).train()


def test_a_total_batch_that_was_applied_for_other_ranks(tmp_path: Path) -> None:
    """The config that a run on 2 ranks has written, under another launcher on 1."""
    cfg = launch_toy.config(tmp_path, optim_wrapper=wrapper(), total_batch_size=8)
    cfg.total_batch_size_applied = dict(ranks=2, images=2, accumulative_counts=2)
    with pytest.raises(ValueError, match='total_batch_size is 8 in the config'):
        Runner.from_cfg(cfg).train()


def total_batch(work_dir: Path, **overrides: Any) -> Config:
    """A config of 4 images an update, which takes 2 micro-batches here."""
    cfg = launch_toy.config(
        work_dir,
        experiment_name=work_dir.name,
        optim_wrapper=dict(type='PartsOptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
        train_cfg=dict(by_epoch=False, max_iters=4),
        total_batch_size=4,
        **overrides,
    )
    cfg.launcher = 'none'
    return cfg


@pytest.fixture
def halfway(tmp_path: Path) -> Path:
    """The checkpoint of update 3 of 4 of a run that tools/train.py started."""
    cfg = total_batch(tmp_path / 'before')
    build_runner(cfg, prepare_training(cfg, TrainOptions())).train()
    return tmp_path / 'before' / 'iter_6.pth'


def other_batches(work_dir: Path) -> list[str]:
    (log,) = work_dir.glob('*/*.log')
    return [line for line in log.read_text().splitlines() if 'the run before made' in line]


def test_another_launcher_resumes_with_another_batch(halfway: Path, tmp_path: Path) -> None:
    """Its wrapper accumulates nothing, and knows the config of the run before alone."""
    cfg = total_batch(tmp_path / 'after', resume=True, load_from=str(halfway))
    cfg.train_cfg.max_iters = 8
    Runner.from_cfg(cfg).train()
    (line,) = other_batches(tmp_path / 'after')
    assert line.partition('WARNING - ')[2] == (
        'Resumed with another batch: the run before made updates of total_batch_size=4 images '
        '(1 rank with accumulative_counts=2), and this run has 1 rank with accumulative_counts=1; '
        'start it with the tools/train.py of agvm_mm, or set optim_wrapper.accumulative_counts '
        'and the lengths yourself.'
    )


@pytest.mark.parametrize('total', [None, 8])
def test_a_launch_of_ours_resumes_without_a_word(
    halfway: Path, tmp_path: Path, total: int | None
) -> None:
    """With another batch as well, which the command line then asks for."""
    cfg = total_batch(tmp_path / 'after')
    options = TrainOptions(resume=str(halfway), total_batch_size=total)
    build_runner(cfg, prepare_training(cfg, options)).train()
    assert other_batches(tmp_path / 'after') == []


def test_another_launcher_resumes_a_written_config(halfway: Path, tmp_path: Path) -> None:
    """It has the accumulation that the batch takes."""
    cfg = total_batch(tmp_path / 'after')
    prepare_training(cfg, TrainOptions())
    cfg.merge_from_dict(dict(resume=True, load_from=str(halfway)))
    Runner.from_cfg(cfg).train()
    assert other_batches(tmp_path / 'after') == []


@pytest.mark.parametrize(
    ('images', 'begin', 'said'), [(4, 3, True), (5, 3, False), (9, 3, True), (9, 0, False)]
)
def test_a_data_set_of_other_epochs_than_the_recipes_is_said(
    tmp_path: Path, images: int, begin: int, said: bool
) -> None:
    """A recipe for COCO on other data: its begin is counted in epochs of another length."""
    optim_wrapper = wrapper()
    del optim_wrapper['accumulative_counts']
    optim_wrapper['agvm'].update(begin=begin)
    found = warnings(
        tmp_path,
        total=4,
        train_dataloader=dataset(6),  # two updates
        optim_wrapper=optim_wrapper,
        train_cfg=dict(by_epoch=True, max_epochs=4),
        auto_scale_lr=dict(base_batch_size=4, epoch_images=images),
    )
    texts = named(found, 'epoch_images')
    assert len(texts) == said
    if said:
        assert f'auto_scale_lr.epoch_images is {images}' in texts[0] and 'has 6 images' in texts[0]


@pytest.mark.parametrize(
    ('scheduler', 'update'),
    [
        (dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=4), 2),
        (dict(type='ConstantLR', factor=0.1, by_epoch=False, end=4), 2),
        (dict(type='ExponentialWarmupLR', ratio=0.1, by_epoch=False, end=4), 2),
        (dict(type='OneCycleLR', eta_max=0.4, by_epoch=False, total_steps=8, pct_start=0.5), 2),
        (dict(type='LinearMomentum', start_factor=0.1, by_epoch=False, end=4), None),
        (dict(type='mmdet.QuadraticWarmupMomentum', by_epoch=False, end=4), None),
        (dict(type='LinearLR', start_factor=1.0, end_factor=0.1, by_epoch=False, end=4), None),
    ],
)
def test_the_plan_of_estimates_names_the_end_of_the_warm_up(
    tmp_path: Path, scheduler: dict[str, Any], update: int | None
) -> None:
    """Iterations are micro-batches here, two to an update."""
    (plan,) = named(warnings(tmp_path, param_scheduler=[scheduler]), 'AGVM makes')
    assert ('warm-up' in plan) == (update is not None)
    assert update is None or f'; the warm-up ends at update {update}.' in plan


@pytest.mark.parametrize(
    ('counting', 'total', 'update'),
    [({}, None, 4), (dict(convert_to_iter_based=True), None, 4), (dict(by_epoch=False), 4, 2)],
)
def test_so_it_does_where_schedules_count_epochs_or_updates(
    tmp_path: Path, counting: dict[str, bool], total: int | None, update: int
) -> None:
    """Four epochs of two updates; and a schedule that the launch steps at updates."""
    optim_wrapper = wrapper()
    if total is not None:
        del optim_wrapper['accumulative_counts']
    found = warnings(
        tmp_path,
        total,
        param_scheduler=[dict(type='ExponentialWarmupLR', ratio=0.1, end=2, **counting)],
        train_cfg=dict(by_epoch=True, max_epochs=4),
        train_dataloader=dataset(8),
        default_hooks={},
        optim_wrapper=optim_wrapper,
    )
    (plan,) = named(found, 'AGVM makes')
    assert f'; the warm-up ends at update {update}.' in plan
