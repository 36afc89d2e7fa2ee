"""Real runs: the recipe is the same function of the update count, however it is accumulated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import launch_toy
import pytest
import torch

from agvm_mm.launch.errors import LaunchError
from agvm_mm.launch.runner import TrainOptions, build_runner, load_config, prepare_training

pytestmark = pytest.mark.usefixtures('quick_start')

TOTAL = 8
SCHEDULE = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=3),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=3, eta_min=0.01),
]


def loader(length: int) -> dict[str, Any]:
    dataset = dict(type='LaunchToyDataset', length=length)
    return {**launch_toy.config(Path())['train_dataloader'], 'dataset': dataset}


Updates = list[dict[str, Any]]


def train(config: Path, name: str, resume: str | None = None, **options: Any) -> Updates:
    """Train from a config file in a work directory ``name`` beside it."""
    work_dir = config.parent / name
    cfg = load_config(str(config), work_dir=str(work_dir), cfg_options=options)
    cfg.experiment_name = f'{config.parent.name}_{name}'
    notes = prepare_training(cfg, TrainOptions(resume=resume))
    build_runner(cfg, notes).train()
    return launch_toy.recorded(work_dir)


def write(tmp_path: Path, **overrides: Any) -> Path:
    entries: dict[str, Any] = dict(total_batch_size=TOTAL, param_scheduler=SCHEDULE)
    return launch_toy.write_config(tmp_path, **{**entries, **overrides})


def weights(updates: Updates) -> torch.Tensor:
    return torch.tensor([update['weights'] for update in updates], dtype=torch.float64)


def rates(updates: Updates) -> list[float]:
    return [update['lr'] for update in updates]


def test_accumulated_updates_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    config = write(tmp_path)
    whole = train(config, 'whole', **{'train_dataloader.batch_size': 8})
    parts = train(config, 'parts', **{'train_dataloader.batch_size': 2})
    assert len(whole) == len(parts) == 6
    assert rates(parts) == rates(whole)
    assert rates(whole)[0] == pytest.approx(0.001)
    assert len(set(rates(whole))) == 5
    torch.testing.assert_close(weights(parts), weights(whole), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('begin', [0, 2])
def test_averaged_weights_are_those_of_the_whole_batch(tmp_path: Path, begin: int) -> None:
    ema = dict(type='EMAHook', momentum=0.3, interval=2, begin_iter=begin)
    config = write(tmp_path, custom_hooks=[dict(type='UpdateRecorder'), ema])
    averages = []
    for images in (8, 2):
        train(config, f'images{images}', **{'train_dataloader.batch_size': images})
        (file,) = (tmp_path / f'images{images}').glob(f'iter_{6 * 8 // images}.pth')
        checkpoint = torch.load(file, weights_only=False)
        # MMEngine saves the average as the model and the model as the average.
        averages.append(checkpoint['state_dict']['conv.weight'])
        assert not torch.equal(averages[-1], checkpoint['ema_state_dict']['module.conv.weight'])
    torch.testing.assert_close(averages[1], averages[0], rtol=1e-5, atol=1e-7)


def test_a_written_config_runs_again(tmp_path: Path) -> None:
    first = train(write(tmp_path), 'first', **{'train_dataloader.batch_size': 2})
    written = tmp_path / 'first' / 'toy.py'
    again = train(written, 'again')
    assert again == first
    options = {'train_dataloader.batch_size': 4, 'train_cfg.max_iters': 4}
    other = train(written, 'other', **options)
    # The schedule was written out to 6 updates; the option counts updates as well.
    assert rates(other) == rates(first)[:4]


@pytest.mark.parametrize('images', [2, 4, 8])
def test_resumes_with_another_accumulation(tmp_path: Path, images: int) -> None:
    ema = dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=0.01, gamma=2)
    config = write(tmp_path, custom_hooks=[dict(type='UpdateRecorder'), ema])
    straight = train(config, 'straight', **{'train_dataloader.batch_size': 2})
    checkpoint = tmp_path / 'straight' / 'iter_12.pth'
    resumed = train(config, 'resumed', str(checkpoint), **{'train_dataloader.batch_size': images})
    assert rates(resumed) == rates(straight)[3:]
    torch.testing.assert_close(weights(resumed), weights(straight)[3:], rtol=1e-5, atol=1e-7)
    averages = [
        torch.load(tmp_path / name, weights_only=False)['state_dict']['conv.weight']
        for name in ('straight/iter_24.pth', f'resumed/iter_{6 * 8 // images}.pth')
    ]
    torch.testing.assert_close(averages[1], averages[0], rtol=1e-5, atol=1e-7)


EPOCHS: dict[str, Any] = dict(
    train_cfg=dict(by_epoch=True, max_epochs=4),
    default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=3),
        dict(type='MultiStepLR', milestones=[3]),
    ],
)


def test_epochs_resume_with_another_accumulation(tmp_path: Path) -> None:
    data = loader(length=24)
    config = write(tmp_path, train_dataloader=data, **EPOCHS)
    straight = train(config, 'straight')
    assert len(straight) == 12
    for images in (2, 8):
        resumed = train(
            config,
            f'resumed{images}',
            str(tmp_path / 'straight' / 'epoch_2.pth'),
            **{'train_dataloader.batch_size': images},
        )
        assert rates(resumed) == rates(straight)[6:]
        torch.testing.assert_close(weights(resumed), weights(straight)[6:], rtol=1e-5, atol=1e-7)


CONVERTED = [
    dict(type='ExponentialWarmupLR', ratio=0.01, begin=0, end=2, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=2, end=4, convert_to_iter_based=True),
]


def test_schedules_in_converted_epochs_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    epochs = {**EPOCHS, 'param_scheduler': CONVERTED}
    config = write(tmp_path, train_dataloader=loader(length=24), **epochs)
    whole = train(config, 'whole', **{'train_dataloader.batch_size': 8})
    parts = train(config, 'parts')
    assert rates(parts) == pytest.approx(rates(whole), rel=1e-9)
    assert len(set(rates(whole))) == 12
    # Resumed twice: the schedules still count the micro-batches of the first run.
    for images, before, epoch in ((8, 'parts', 1), (4, 'resumed8', 2)):
        resumed = train(
            config,
            f'resumed{images}',
            str(tmp_path / before / f'epoch_{epoch}.pth'),
            **{'train_dataloader.batch_size': images},
        )
        assert rates(resumed) == pytest.approx(rates(whole)[3 * epoch :], rel=1e-9)


@pytest.mark.parametrize('kind', ['LinearLR', 'PolyLR'])
def test_a_converted_schedule_of_another_length_is_close(tmp_path: Path, kind: str) -> None:
    schedule = [dict(type=kind, begin=0, end=4, convert_to_iter_based=True)]
    epochs = {**EPOCHS, 'param_scheduler': schedule}
    config = write(tmp_path, train_dataloader=loader(length=24), **epochs)
    whole = train(config, 'whole', **{'train_dataloader.batch_size': 8})
    parts = train(config, 'parts')
    assert rates(parts)[0] == rates(whole)[0]
    span = max(rates(whole)) - min(rates(whole))
    assert rates(parts) == pytest.approx(rates(whole), rel=0, abs=span / len(whole))


def test_the_log_says_what_was_chosen(tmp_path: Path) -> None:
    train(write(tmp_path), 'run')
    (log,) = (tmp_path / 'run').glob('*/*.log')
    assert 'INFO - total batch 8 = 1 rank x 2 images x 4 micro-batches' in log.read_text()


def test_a_batch_that_does_not_divide_stops_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match='total_batch_size=9 is no multiple'):
        train(write(tmp_path, total_batch_size=9), 'run')
    assert not (tmp_path / 'run').exists()
