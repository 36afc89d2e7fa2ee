"""The callback of examples/ in Lightning's own trainer, with accumulation, on one and two ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from attach_runs import AGVM, COUNTS, Detector, adam, batch, by_wrapper, weights
from ranks import run_ranks

pl = pytest.importorskip(
    'lightning.pytorch', reason="Lightning is not installed: pip install 'agvm_mm[examples]'"
)
from lightning.pytorch.plugins.environments import LightningEnvironment  # noqa: E402
from lightning.pytorch.strategies import DDPStrategy  # noqa: E402

from lightning_callback import AGVMCallback  # noqa: E402

UPDATES = 4
MODULES = {name: [f'model.{name}'] for name in ('backbone', 'neck', 'bbox_head')}


class Module(pl.LightningModule):
    """Calls itself in its training step, as Lightning's templates do."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Detector()

    def forward(self, *args: torch.Tensor) -> torch.Tensor:
        return self.model(*args)

    def training_step(self, data: Any, index: int) -> torch.Tensor:
        return self(*data)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return adam(self)


def fit(
    rank: int,
    folder: Path,
    epochs: int = 1,
    ckpt: Path | None = None,
    batches: int = UPDATES * COUNTS,
    **options: Any,
) -> tuple[Any, torch.Tensor, dict[str, float]]:
    """Every rank loads its own batches; the trainer leaves the loader as it is."""
    ranks = torch.distributed.is_initialized()
    module = Module()
    callbacks = [] if options.get('agvm', {}) is None else [
        AGVMCallback(modules=MODULES, **{'agvm': AGVM, **options})]  # fmt: skip
    trainer = pl.Trainer(
        accelerator='cpu',
        devices=2 if ranks else 1,
        strategy=DDPStrategy(cluster_environment=LightningEnvironment()) if ranks else 'auto',
        max_epochs=epochs,
        accumulate_grad_batches=COUNTS,
        gradient_clip_val=None,
        callbacks=callbacks,
        default_root_dir=folder / str(rank),
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        logger=False,
        use_distributed_sampler=False,
    )
    data = [batch(rank, step) for step in range(batches)]
    loader = torch.utils.data.DataLoader(data, batch_size=None)
    trainer.fit(module, loader, ckpt_path=ckpt)
    trainer.save_checkpoint(folder / 'end.ckpt')
    state = callbacks[0].state_dict() if callbacks else None
    return state, weights(module), {k: float(v) for k, v in trainer.logged_metrics.items()}


def require_equal(found: Any, expected: Any) -> None:
    (state, end, logged), (other, other_end) = found, expected
    torch.testing.assert_close(end, other_end, rtol=1e-12, atol=1e-15)
    assert state['updates'] == UPDATES and state['agvm']['images'] == other['agvm']['images']
    for name, module in other['agvm']['modules'].items():
        assert state['agvm']['modules'][name] == pytest.approx(module, rel=1e-12)
        assert logged[f'agvm/scale/{name}'] == pytest.approx(module['scale'], rel=1e-6)


def test_one_process_equals_the_wrapper(tmp_path: Path) -> None:
    require_equal(fit(0, tmp_path), by_wrapper(0, UPDATES))


def _both(rank: int, folder: Path) -> Any:
    return fit(rank, folder), by_wrapper(rank, UPDATES)


def test_two_ranks_equal_the_wrapper(tmp_path: Path) -> None:
    for found, expected in run_ranks(_both, 2, tmp_path):
        require_equal(found, expected)


def test_measuring_alone_is_bitwise_plain_lightning(tmp_path: Path) -> None:
    _, plain, _ = fit(0, tmp_path, agvm=None)
    state, end, _ = fit(0, tmp_path, agvm=dict(AGVM, apply=False))
    assert torch.equal(plain, end) and state['agvm']['modules']['neck']['estimates'] == 2


def whole_and_resumed(rank: int, folder: Path, **options: Any) -> tuple[Any, Any]:
    half = UPDATES // 2 * COUNTS  # batches of an epoch, inside of which Lightning cannot resume
    whole = fit(rank, folder, 2, batches=half, **options)
    fit(rank, folder, 1, batches=half, **options)
    return whole, fit(rank, folder, 2, ckpt=folder / 'end.ckpt', batches=half, **options)


def test_a_resumed_training_ends_bitwise_as_an_uninterrupted_one(tmp_path: Path) -> None:
    (state, whole, _), (again, resumed, _) = whole_and_resumed(0, tmp_path)
    assert state == again and state['updates'] == UPDATES
    assert torch.equal(whole, resumed)


def _with_kfac(rank: int, folder: Path) -> tuple[Any, Any]:
    return whole_and_resumed(rank, folder, kfac=dict(damping=0.1))


def test_so_it_does_with_kfac_on_two_ranks(tmp_path: Path) -> None:
    for (_, whole, _), (_, resumed, _) in run_ranks(_with_kfac, 2, tmp_path):
        assert torch.equal(whole, resumed)
