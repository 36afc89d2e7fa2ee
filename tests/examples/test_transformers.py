"""The callback of examples/ in transformers' own Trainer, which trains through Accelerate."""

from __future__ import annotations

import os
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
import torch
from attach_runs import AGVM, COUNTS, Detector, adam, batch, by_wrapper, weights
from ranks import run_ranks
from torch import Tensor, nn

transformers = pytest.importorskip(
    'transformers', reason="transformers is not installed: pip install 'agvm_mm[examples]'"
)
state = pytest.importorskip(
    'accelerate.state', reason="accelerate is not installed: pip install 'agvm_mm[examples]'"
)
from transformers_callback import AGVMCallback  # noqa: E402

UPDATES = 4


class Model(nn.Module):
    """Takes and gives what the Trainer expects."""

    def __init__(self) -> None:
        super().__init__()
        for name, child in Detector().named_children():
            self.add_module(name, child)

    def forward(self, pixel_values: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return dict(loss=Detector.forward(self, pixel_values, labels))


class Batches(torch.utils.data.Dataset):
    """Ready batches, those of the ranks in turn, as Accelerate hands them out."""

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks

    def __len__(self) -> int:
        return self.ranks * UPDATES * COUNTS

    def __getitem__(self, n: int) -> dict[str, Tensor]:
        images, targets = batch(n % self.ranks, n // self.ranks)
        return dict(pixel_values=images, labels=targets)


class Trainer(transformers.Trainer):
    """Loads the data in their order, ready batches as they are."""

    def get_train_dataloader(self) -> Any:
        ready = isinstance(self.train_dataset, Batches)
        loader = torch.utils.data.DataLoader(
            self.train_dataset,
            batch_size=1 if ready else self.args.per_device_train_batch_size,
            collate_fn=itemgetter(0) if ready else self.data_collator,
        )
        return self.accelerator.prepare(loader)


def trainer_of(model: nn.Module, data: Any, folder: Path, **args: Any) -> Any:
    options = dict(
        output_dir=str(folder),
        max_steps=UPDATES,
        gradient_accumulation_steps=COUNTS,
        use_cpu=True,
        max_grad_norm=0,
        lr_scheduler_type='constant',
        report_to=[],
        logging_steps=1,
        save_strategy='no',
        remove_unused_columns=False,
        disable_tqdm=True,
    )
    arguments = transformers.TrainingArguments(**{**options, **args})
    optimizers = (adam(model), None)
    return Trainer(model, arguments, train_dataset=data, optimizers=optimizers)


def fit(
    rank: int,
    folder: Path,
    agvm: Any = AGVM,
    resume: str | None = None,
    kfac: Any = None,
    **args: Any,
) -> Any:
    ranks = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    model = Model().double()
    trainer = trainer_of(model, Batches(ranks), folder, **args)
    callback = AGVMCallback(trainer, agvm=agvm, kfac=kfac)
    if agvm is not None:
        trainer.add_callback(callback)
    trainer.train(resume_from_checkpoint=resume)
    return callback.handle and callback.handle.state_dict(), weights(model)


def require_equal(found: Any, expected: Any) -> None:
    (ours, end), (other, other_end) = found, expected
    torch.testing.assert_close(end, other_end, rtol=1e-12, atol=1e-15)
    assert ours['updates'] == UPDATES and ours['agvm']['images'] == other['agvm']['images']
    for name, module in other['agvm']['modules'].items():
        assert ours['agvm']['modules'][name] == pytest.approx(module, rel=1e-12)


def test_one_process_equals_the_wrapper(tmp_path: Path) -> None:
    require_equal(fit(0, tmp_path), by_wrapper(0, UPDATES))


def new_launch() -> None:
    """Forget the process that was forked."""
    state.AcceleratorState._reset_state(reset_partial_state=True)
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT='0')  # asked for and not used


def _both(rank: int, folder: Path) -> Any:
    new_launch()
    return fit(rank, folder), by_wrapper(rank, UPDATES)


def test_two_ranks_equal_the_wrapper(tmp_path: Path) -> None:
    for found, expected in run_ranks(_both, 2, tmp_path):
        require_equal(found, expected)


def test_measuring_alone_is_bitwise_the_plain_trainer(tmp_path: Path) -> None:
    clipped = dict(max_grad_norm=0.01)
    _, plain = fit(0, tmp_path, agvm=None, **clipped)
    ours, end = fit(0, tmp_path, agvm=dict(AGVM, apply=False), **clipped)
    assert torch.equal(plain, end) and ours['agvm']['modules']['neck']['estimates'] == 2


def whole_and_resumed(rank: int, folder: Path, **options: Any) -> tuple[Tensor, Tensor]:
    saving = dict(save_strategy='steps', save_steps=UPDATES // 2, **options)
    _, whole = fit(rank, folder, **saving)
    checkpoint = folder / f'checkpoint-{UPDATES // 2}'
    assert (checkpoint / 'agvm.pt').exists()
    return whole, fit(rank, folder, resume=str(checkpoint), **saving)[1]


def test_a_resumed_training_ends_bitwise_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, resumed = whole_and_resumed(0, tmp_path)
    assert torch.equal(whole, resumed)


def _with_kfac(rank: int, folder: Path) -> Any:
    new_launch()
    options = dict(damping=0.1)
    whole, resumed = whole_and_resumed(rank, folder, kfac=options)
    return whole, resumed, by_wrapper(rank, UPDATES, kfac=options)[1]


def test_so_it_does_with_kfac_on_two_ranks(tmp_path: Path) -> None:
    for whole, resumed, expected in run_ranks(_with_kfac, 2, tmp_path):
        assert torch.equal(whole, resumed)
        torch.testing.assert_close(whole, expected, rtol=1e-12, atol=1e-15)


class Images(torch.utils.data.Dataset):
    """Random images with one box each, as DETR and YOLOS take them."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, n: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(n)
        box = torch.rand(1, 4, generator=generator) * 0.3 + 0.3
        labels = dict(class_labels=torch.tensor([n % 3]), boxes=box)
        return dict(pixel_values=torch.randn(3, 32, 32, generator=generator), labels=labels)


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    pixels = torch.stack([item['pixel_values'] for item in items])
    return dict(pixel_values=pixels, labels=[item['labels'] for item in items])


def test_a_detector_of_the_library_trains(tmp_path: Path) -> None:
    pytest.importorskip('scipy', reason='the loss of YOLOS matches boxes with it')
    torch.manual_seed(0)
    config = transformers.YolosConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[32, 32],
        patch_size=8,
        num_detection_tokens=5,
        num_labels=3,
    )
    model = transformers.YolosForObjectDetection(config)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=4,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=COUNTS,
        use_cpu=True,
        report_to=[],
        logging_steps=1,
        save_strategy='no',
        remove_unused_columns=False,
        disable_tqdm=True,
    )
    trainer = Trainer(model, arguments, train_dataset=Images(), data_collator=collate)
    callback = AGVMCallback(trainer, agvm=dict(anchor='vit', interval=1))
    trainer.add_callback(callback)
    trainer.train()
    scalars = callback.handle.scalars()
    for name in ('vit', 'class_labels_classifier', 'bbox_predictor'):
        assert 0 < scalars[f'agvm/phi/{name}'] < 2
    assert callback.handle.state_dict()['agvm']['images'] == 4 * COUNTS
