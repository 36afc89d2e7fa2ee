"""One rank of a long run: a small Faster R-CNN, trained as tools/train.py trains.

    python -m lab.faults.rank WORK_DIR LIFE '{"updates": 2000, ...}'

The wrapper is the mixed-precision one, in full precision: only a loss scaler passes over an update
that is not finite, and MMEngine builds one on GPUs alone, which is lifted here.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import Dataset

from agvm_mm.launch.runner import TrainOptions, build_runner, leave_process_group, prepare_training
from agvm_mm.parts import KFACPart

from ..cost.models import build_batch, model_config
from .plan import CLAMP, INTERVAL, Options, Plan, draw_plan

SIZE = 64  # pixels of an image's side
STATUS = Path('/proc/self/status')
AMP = 'mmengine.optim.optimizer.amp_optimizer_wrapper'
SGD = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4)
STEPS: dict[str, dict[str, Any]] = {
    'agvm': dict(optimizer=SGD),
    # The inversion is older than the factors at every other checkpoint.
    'kfac': dict(
        optimizer=SGD,
        kfac=dict(
            statistics_interval=INTERVAL,
            inverse_interval=2 * INTERVAL,
            growing_intervals=False,
            damping=0.01,
            kl_clip=1e-3,
        ),
    ),
    'muon': dict(
        constructor='MuonOptimWrapperConstructor',
        optimizer=dict(type='MuonOptimizer', lr=0.001, weight_decay=0.05),
    ),
}
"""By method, what the optimizer wrapper steps with."""


@DATASETS.register_module()
class SoakImages(Dataset[dict[str, Any]]):
    """Random images with one to five boxes each, a function of seed and index."""

    def __init__(self, length: int, seed: int) -> None:
        self.length = length
        self.seed = seed

    def __len__(self) -> int:
        """Images of an epoch."""
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One image as a pipeline packs it."""
        batch = build_batch((self.seed, index), 1, SIZE)
        return {key: values[0] for key, values in batch.items()}


@HOOKS.register_module()
class SoakHook(Hook):
    """Makes the faults of the plan, and writes down what is found.

    Args:
        options: of the run.
        life: how often the run was started before.
    """

    def __init__(self, options: dict[str, Any], life: int) -> None:
        self.options = Options(**options)
        self.plan: Plan = draw_plan(self.options)
        self.life = life
        self._poisoned = False

    def before_train(self, runner: Runner) -> None:
        """Take a hand in the loss."""
        model = _network(runner.model)
        sum_up = model.parse_losses

        def parse_losses(losses: Any) -> Any:
            total, logged = sum_up(losses)
            return (total * torch.nan if self._poisoned else total), logged

        model.parse_losses = parse_losses
        self._name = Path(runner.work_dir) / f'rank{get_rank()}'
        self._note(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Spoil the loss or the ground truth."""
        self._poisoned = self.plan.nan.get(runner.iter) == get_rank()
        if get_rank() in self.plan.empty.get(runner.iter, ()):
            for sample in data_batch['data_samples']:
                sample.gt_instances = sample.gt_instances[:0]

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Tell how far the run is, and now and then what it looks like."""
        if (runner.iter + 1) % self.options.check == 0:
            record = json.dumps(observe(runner, self.life))
            with self._name.with_suffix('.jsonl').open('a') as file:
                file.write(f'\n{record}\n')  # a kill may have cut off the line before
        self._note(runner, 1)

    def _note(self, runner: Runner, done: int = 0) -> None:
        self._name.with_suffix('.update').write_text(f'{self.life} {runner.iter + done}')


def observe(runner: Runner, life: int) -> dict[str, Any]:
    """Weights as a checksum, memory, scales and counters after an update."""
    wrapper = runner.optim_wrapper
    state, kfac = wrapper.state_dict()['agvm'], wrapper.part(KFACPart)
    return {
        'update': runner.iter + 1,
        'life': life,
        'weights': checksum(list(_network(runner.model).parameters())),
        'buffers': checksum(_state(wrapper.optimizer)),
        'memory': resident_memory(),
        'skipped': state['skipped'],
        'estimates': max(int(module['estimates']) for module in state['modules'].values()),
        'scales': {name: module['scale'] for name, module in state['modules'].items()},
        'kfac': None if kfac is None else _counters(kfac),
    }


def _state(optimizer: Optimizer) -> list[Tensor]:
    values = [value for state in optimizer.state.values() for value in state.values()]
    return [value for value in values if isinstance(value, Tensor)]


def _counters(part: KFACPart) -> dict[str, int]:
    kfac = part.preconditioner
    measured = sum(layer.measured for layer in kfac.layers)
    return dict(
        skipped=kfac.skipped, unmeasured=len(kfac.layers) - measured, unsolved=len(kfac.unsolved)
    )


def checksum(weights: list[Tensor]) -> str:
    """SHA-256 of the bytes of the weights; NaN marks weights that are not finite."""
    if not all(bool(weight.isfinite().all()) for weight in weights):
        return 'NaN'
    found = hashlib.sha256()
    for weight in weights:
        found.update(weight.detach().cpu().numpy().tobytes())
    return found.hexdigest()


def resident_memory() -> int | None:
    """Bytes that the process holds in memory; None where Linux does not tell."""
    if not STATUS.is_file():
        return None
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith('VmRSS')]
    return 1024 * int(line.split()[1])


def build_config(work_dir: Path, life: int, options: Options) -> Config:
    """The config of the run."""
    wrapper = dict(
        type='AGVMAmpOptimWrapper',
        loss_scale='dynamic',
        **STEPS[options.method],
        agvm=dict(interval=INTERVAL, momentum=0.9, clamp=CLAMP),
        clip_grad=dict(max_norm=5.0),
    )
    loader = dict(
        batch_size=options.images,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='pseudo_collate'),
        dataset=dict(
            type='SoakImages',
            length=options.save * options.ranks * options.images,
            seed=options.seed,
        ),
    )
    return Config(
        dict(
            default_scope='mmdet',
            # Else DDP fills its buckets anew after a restart, and three ranks add in another order.
            find_unused_parameters=True,
            launcher='pytorch',
            work_dir=str(work_dir),
            model=model_config('tiny'),
            train_dataloader=loader,
            train_cfg=dict(by_epoch=True, max_epochs=options.updates // options.save),
            optim_wrapper=wrapper,
            param_scheduler=[dict(type='LinearLR', start_factor=0.1, end=20, by_epoch=False)],
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=options.check),
                checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2),
            ),
            custom_hooks=[
                dict(type='SeedEpochHook'),
                dict(type='KFACStateHook'),
                dict(type='SoakHook', options=vars(options), life=life),
            ],
            randomness=dict(seed=options.seed),
        ),
        format_python_code=False,
    )


@contextmanager
def loss_scaler_on_cpu() -> Iterator[None]:
    """Let MMEngine's mixed-precision wrapper be built here, without lower precision."""
    with (
        mock.patch(f'{AMP}.is_cuda_available', lambda: True),
        mock.patch('agvm_mm.launch.runner.require_gpu_for_amp', lambda cfg: None),
        mock.patch(f'{AMP}.GradScaler', partial(torch.amp.GradScaler, 'cpu')),
        mock.patch('mmengine.runner.amp.autocast', lambda **_: nullcontext()),
    ):
        yield


def main(work_dir: str, life: str, options: str) -> None:
    """Train to the end, from the last checkpoint if there is one."""
    torch.set_num_threads(1)
    cfg = build_config(Path(work_dir), int(life), Options(**json.loads(options)))
    with loss_scaler_on_cpu():
        build_runner(cfg, prepare_training(cfg, TrainOptions(resume='auto'))).train()
    leave_process_group()


def _network(model: nn.Module) -> Any:
    return getattr(model, 'module', model)


if __name__ == '__main__':
    main(*sys.argv[1:])
