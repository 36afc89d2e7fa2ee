"""Branches that are trained: their configs, what they take up, and the tool."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from launcher import ROOT, run_tool
from logs import train_line, write_run
from mmengine.config import Config
from quality_toy import QualityToyData, QualityToyModel, write_config
from tool_modules import load_tool, parse

from agvm_mm.branches.plan import branch_config, make_plan
from agvm_mm.branches.train import BranchHook, train_branch
from agvm_mm.launch.errors import LaunchError
from agvm_mm.wrappers import PartsOptimWrapper
from agvm_runs.branches.kept import read
from agvm_runs.curves import history
from agvm_runs.errors import UserError
from agvm_runs.work_dir import read_lines

TOOL = 'analysis_tools/critical_batch.py'
WEIGHTS, MOMENTUM = [0.5, -0.25], [0.1, 0.2]


def toy(folder: Path, checkpoint: dict[str, Any] | None = None, **entries: Any) -> list[str]:
    """A config for batch 4 at rate 0.4 with momentum, and a checkpoint of a run of it.

    The run had lowered its rate to 0.05.
    """
    cfg = Config.fromfile(write_config(folder))
    cfg.optim_wrapper.optimizer.momentum = 0.9
    cfg.merge_from_dict(dict(auto_scale_lr=dict(base_batch_size=4), **entries))
    cfg.train_cfg = dict(by_epoch=True, max_epochs=9)
    cfg.param_scheduler = [dict(type='LinearLR', start_factor=0.1, end=5, by_epoch=False)]
    cfg.dump(str(folder / 'toy.py'))
    model = QualityToyModel()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.4, momentum=0.9)
    for parameter, weight, velocity in zip(model.parameters(), WEIGHTS, MOMENTUM):
        parameter.data.fill_(weight)
        optimizer.state[parameter]['momentum_buffer'] = torch.tensor(velocity)
    optimizer.param_groups[0]['lr'] = 0.05
    saved = dict(
        meta=dict(iter=120), state_dict=model.state_dict(), optimizer=optimizer.state_dict()
    )
    torch.save(saved if checkpoint is None else {**saved, **checkpoint}, folder / 'iter_120.pth')
    return [str(folder / 'toy.py'), str(folder / 'iter_120.pth')]


def losses_by_hand(rate: float, passes: int, count: int) -> list[float]:
    """The toy's loss is <w, mean x>, its gradient the mean x: SGD with momentum over its data."""
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    velocity = torch.tensor(MOMENTUM, dtype=torch.float64)
    means = QualityToyData().items.double().view(8, 4, 2).mean(1)
    losses, gradients = [], []
    for i in range(count):
        mean = means[i % 8]
        losses.append(float(weights @ mean))
        gradients.append(mean)
        if len(gradients) == passes:
            velocity = 0.9 * velocity + torch.stack(gradients).mean(0)
            weights = weights - rate * velocity
            gradients = []
    return losses


@pytest.mark.parametrize(('rule', 'times'), [('linear', 2.0), ('sqrt', math.sqrt(2))])
def test_a_branch_goes_on_from_the_run_at_its_own_batch_and_rate(
    tmp_path: Path, rule: str, times: float
) -> None:
    """Weights and momentum are the run's, the rate is not; 48 images are 12 micro-batches."""
    plan = make_plan(*toy(tmp_path), factors=[1, 2], images=48, window=16, rule=rule)
    for factor, rate in ((1, 0.4), (2, 0.4 * times)):
        branch, notes = train_branch(plan, factor, seed=0)
        expected = losses_by_hand(rate, factor, 12)
        assert branch.rate == pytest.approx(rate)
        assert branch.loss == pytest.approx(sum(expected[-4:]) / 4, rel=1e-5)
        assert [images for images, _ in branch.curve] == [16, 32, 48]
        assert branch.curve[0][1] == pytest.approx(sum(expected[:4]) / 4, rel=1e-5)
        assert (branch.updates, branch.iteration) == (12 // factor, 120)
        assert [note.text for note in notes] == [
            'The run had a learning rate of 0.05 at its checkpoint; batch 4 trains at 0.4 (--lr).'
        ]


def test_without_the_optimizers_state_a_branch_says_that_it_starts_it(tmp_path: Path) -> None:
    plan = make_plan(*toy(tmp_path, dict(optimizer=None)), factors=[1], images=16, window=8)
    branch, (note,) = train_branch(plan, 1, seed=0)
    assert 'holds no state of the optimizer' in note.text and math.isfinite(branch.loss)


def test_the_clock_of_the_parts_counts_updates_of_the_branch(tmp_path: Path) -> None:
    """120 updates of batch 4 are 30 of batch 16, which is where windows of updates are by then."""
    model = QualityToyModel()
    wrapper = PartsOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.8))
    run = PartsOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.05))
    run.updates = 120
    hook = BranchHook(make_plan(*toy(tmp_path), factors=[4]), 4)
    runner = SimpleNamespace(model=model, optim_wrapper=wrapper)
    saved = dict(state_dict=model.state_dict(), optimizer=run.state_dict())
    hook.after_load_checkpoint(runner, saved)
    assert wrapper.updates == 30 and wrapper.optimizer.param_groups[0]['lr'] == 0.8
    assert run.state_dict() == saved['optimizer']  # the checkpoint is left as it is


def test_a_branch_that_diverges_ends_there(tmp_path: Path) -> None:
    plan = make_plan(*toy(tmp_path), factors=[1], images=160, window=16, rate=1e38)
    branch, _ = train_branch(plan, 1, seed=0)
    assert branch.loss == math.inf and len(branch.curve) < 10


def test_the_rule_follows_the_optimizer_and_the_lengths_the_largest_batch(tmp_path: Path) -> None:
    config, checkpoint = toy(tmp_path)
    plan = make_plan(config, checkpoint, [1, 2, 8])
    assert (plan.rule, plan.rate, plan.base) == ('linear', 0.4, 4)
    assert (plan.images, plan.window) == (32 * 32, 8 * 32)
    options = {'optim_wrapper.optimizer': dict(type='AdamW', lr=0.1)}
    assert make_plan(config, checkpoint, [1], options=options).rule == 'sqrt'


def test_the_config_of_a_branch_is_the_recipe_rescaled_and_held(tmp_path: Path) -> None:
    hooks = [dict(type='EMAHook'), dict(type='SeedEpochHook')]
    entries: dict[str, Any] = {
        'optim_wrapper.type': 'AGVMOptimWrapper',
        'optim_wrapper.agvm': dict(begin='after_warmup', apply=False),
        'custom_hooks': hooks,
    }
    config, checkpoint = toy(tmp_path, **entries)
    plan = make_plan(config, checkpoint, [1, 4], images=64, window=16)
    cfg, _ = branch_config(plan, 4, 7, str(tmp_path))
    assert cfg.optim_wrapper.accumulative_counts == 4
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(1.6)
    assert cfg.train_cfg.max_iters == 16 and cfg.randomness.seed == 7
    assert cfg.param_scheduler is None and cfg.val_dataloader is None
    assert cfg.optim_wrapper.agvm is None  # it measures alone, and one pass has no variance
    assert [hook['type'] for hook in cfg.custom_hooks] == ['SeedEpochHook']
    options = {'optim_wrapper.agvm.apply': True}
    plan = make_plan(config, checkpoint, [1, 4], images=64, window=16, options=options)
    cfg, _ = branch_config(plan, 4, 7, str(tmp_path))
    assert cfg.optim_wrapper.agvm.apply is True


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (dict(state_dict={}), 'lacks 2 of the 2 tensors of the model'),
        (dict(ema_state_dict={}), 'holds averaged weights in the place of the trained ones'),
        (dict(optimizer=dict(param_groups=[], state={})), 'does not fit optim_wrapper'),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    plan = make_plan(*toy(tmp_path, change), factors=[1], images=16, window=8)
    with pytest.raises(LaunchError) as refusal:
        train_branch(plan, 1, seed=0)
    assert words in str(refusal.value)


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    tool = load_tool(TOOL)
    train = tool.train_branch
    tool.made = []

    def watched(plan: Any, factor: int, seed: int) -> Any:
        tool.made.append((factor, seed))
        return train(plan, factor, seed)

    monkeypatch.setattr(tool, 'train_branch', watched)
    return tool


def test_the_tool_makes_what_is_missing_and_shows_a_folder(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    out, summary = tmp_path / 'out', tmp_path / 'summary.json'
    curves = {'agvm/phi/head': 0.5, 'agvm/noise_scale/head': 2.0}
    write_run(tmp_path, [{**train_line(1, 120, loss=1.0), **curves}])
    reads = []
    monkeypatch.setattr(history, 'read_lines', lambda log: reads.append(log) or read_lines(log))
    lengths = ['--factors', 1, 2, '--images', 16, '--window', 8, '--out', out]
    run = ['--run', tmp_path, '--json', summary]
    args = [*toy(tmp_path), *lengths, '--seeds', 0, 1, *run]
    parse(tool, monkeypatch, *args)
    tool.main()
    printed = capsys.readouterr().out
    assert tool.made == [(1, 0), (2, 0), (1, 1), (2, 1)]
    assert len(reads) == 1
    assert printed.count('The run had a learning rate') == 1
    assert '| head | 2 |  | ' in printed
    assert '| 8 (x2) | 2 | 0.8 |' in printed and 'Critical batch: ' in printed
    kept = json.loads(summary.read_text())
    assert kept['batches'][0]['losses'] == [
        read(out / f'x1_seed{seed}.json').loss for seed in (0, 1)
    ]
    (out / 'x2_seed1.json').unlink()
    tool.main()
    assert tool.made[4:] == [(2, 1)]
    parse(tool, monkeypatch, out)
    tool.main()
    assert capsys.readouterr().out.strip().endswith(printed.split('\n| batch')[1].strip())
    assert len(tool.made) == 5
    parse(tool, monkeypatch, *args, '--lr', 0.1)
    with pytest.raises(UserError, match=r'x1_seed0.json was made with rate 0.4 and not 0.1'):
        tool.main()


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (['--images', 20], '--images is 20; allowed is a multiple of every batch, of which 8'),
        (['--images', 32, '--window', 4], '--window is 4; allowed is a multiple of every batch'),
        (['--images', 16, '--window', 16], '--window is 16; allowed is at most half'),
        (['--factors', 1], '--factors needs at least two'),
        (['--factors', 2, 2], '--factors names 2 twice'),
        (['--factors', 0, 1], '--factors is 0; allowed is'),
        (['--seeds', 3, 3], '--seeds names 3 twice'),
        (['--tolerance', 0], '--tolerance is 0.0; allowed is a number above 0'),
        (['--lr', 'inf'], '--lr is inf; allowed'),
        (['--run', '.'], "with AGVM's curves"),
        (['--cfg-options', 'auto_scale_lr=None'], 'set auto_scale_lr.base_batch_size'),
        (['--cfg-options', 'optim_wrapper.accumulative_counts=2'], 'accumulative_counts is 2'),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_trained(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, args: list[Any], words: str
) -> None:
    monkeypatch.setattr(tool, 'train_branch', lambda *_: pytest.fail('a branch was trained'))
    parse(tool, monkeypatch, *toy(tmp_path), '--factors', 1, 2, '--out', tmp_path / 'out', *args)
    with pytest.raises(UserError) as refusal:
        tool.main()
    assert words in str(refusal.value) and '\n' not in str(refusal.value)


def test_a_curriculum_is_refused(tmp_path: Path) -> None:
    files = toy(tmp_path, custom_hooks=[dict(type='CurriculumHook')])
    with pytest.raises(
        LaunchError, match='has a CurriculumHook, whose stages a branch would begin'
    ):
        make_plan(*files, factors=[1, 2])


def test_a_local_checkpoint_is_needed(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config, _ = toy(tmp_path)
    parse(tool, monkeypatch, config)
    with pytest.raises(LaunchError, match='needs a checkpoint to branch from'):
        tool.main()
    parse(tool, monkeypatch, config, 'https://host/a.pth')
    with pytest.raises(LaunchError, match='is https://host/a.pth; allowed is a local file'):
        tool.main()


@pytest.mark.slow
def test_the_tool_on_a_detector(tmp_path: Path) -> None:
    """A run with AGVM on 12 scenes, then two batches of one seed from its checkpoint."""
    pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')
    sizes = ['--train', 12, '--val', 4, '--size', 64, 64, '--empty', 0]
    run_tool('dataset_converters/generate_scenes.py', tmp_path / 'scenes', *sizes)
    config, work = ROOT / 'tests' / 'training' / 'tiny_faster_rcnn.py', tmp_path / 'work'
    options = ['total_batch_size=4', 'custom_hooks=[]', 'val_cfg=None', 'val_dataloader=None',
               'val_evaluator=None']  # fmt: skip
    short = [*options, 'train_cfg.max_epochs=1']
    run_tool('train.py', config, '--work-dir', work, '--cfg-options', *short, data=tmp_path)
    printed = run_tool(
        TOOL, config, work / 'epoch_1.pth', '--factors', 1, 2, '--images', 16, '--window', 8,
        '--seeds', 0, '--out', tmp_path / 'out', '--cfg-options', *options, data=tmp_path,
    )  # fmt: skip
    small, large = (read(tmp_path / 'out' / f'x{factor}_seed0.json') for factor in (1, 2))
    assert (small.batch, large.batch, small.updates, large.updates) == (4, 8, 4, 2)
    assert small.iteration == 6 and large.rate == pytest.approx(2 * small.rate)
    assert math.isfinite(small.loss) and small.loss != large.loss
    modules = [line.split(' | ')[0][2:] for line in printed.splitlines()[-4:]]
    assert modules == ['backbone', 'neck', 'rpn_head', 'roi_head.bbox_head']
