"""One rank of the long run: what it does to the training and what it writes down."""

from __future__ import annotations

import hashlib
import json
import mmap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch._dynamo  # noqa: F401  for DistributedDataParallel, before ranks are forked
from cpu_amp import needs_loss_scaler
from mmengine.model import MMDistributedDataParallel
from networks import ReplayNet
from ranks import run_ranks

from agvm_mm import AGVMAmpOptimWrapper
from lab.faults import rank as soak
from lab.faults.plan import INTERVAL, Options, draw_plan

OPTIONS = dict(updates=20, ranks=2, save=5, check=5, kills=0, nan=0.2, empty=0.3)
LIFE = 3
SIZES = dict(backbone=6, neck=4)


def _train(rank: int, folder: Path) -> tuple[list[int], list[bool], list[float]]:
    """Objects and finite losses of this rank's updates, and its weights at the end."""
    model = MMDistributedDataParallel(ReplayNet(SIZES, torch.zeros(10)))
    with soak.loss_scaler_on_cpu():
        wrapper = AGVMAmpOptimWrapper(
            loss_scale='dynamic',
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
            agvm=dict(interval=INTERVAL),
        )
        wrapper.initialize_count_status(model, 0, OPTIONS['updates'])
        runner: Any = SimpleNamespace(
            model=model, optim_wrapper=wrapper, work_dir=str(folder), iter=0
        )
        hook = soak.SoakHook(OPTIONS, LIFE)
        hook.before_train(runner)
        assert (folder / f'rank{rank}.update').read_text() == f'{LIFE} 0'
        objects, finite, backward = [], [], wrapper.backward

        def watched(loss: torch.Tensor, **kwargs: Any) -> None:
            finite.append(bool(loss.isfinite()))
            backward(loss, **kwargs)

        wrapper.backward = watched
        for runner.iter in range(OPTIONS['updates']):
            generator = torch.Generator().manual_seed(10 * runner.iter + rank)
            data = dict(
                inputs=[1 + torch.randn(10, generator=generator)],
                data_samples=[SimpleNamespace(gt_instances=torch.ones(3))],
            )
            hook.before_train_iter(runner, runner.iter, data)
            objects.append(len(data['data_samples'][0].gt_instances))
            model.train_step(data, wrapper)
            hook.after_train_iter(runner)
    return objects, finite, model.module.flat().tolist()


@needs_loss_scaler
def test_faults_happen_where_they_are_planned_and_are_written_down(tmp_path: Path) -> None:
    results = run_ranks(_train, 2, tmp_path)
    plan = draw_plan(Options(**OPTIONS))
    assert len(plan.nan) == 4 and len(plan.empty) == 6 and plan.skipped > 0
    weights = hashlib.sha256(torch.tensor(results[0][2]).numpy()[:6].tobytes())
    weights.update(torch.tensor(results[0][2]).numpy()[6:].tobytes())
    for rank, (objects, finite, _) in enumerate(results):
        assert objects == [0 if rank in plan.empty.get(u, ()) else 3 for u in range(20)]
        assert finite == [plan.nan.get(u) != rank for u in range(20)]
        assert (tmp_path / f'rank{rank}.update').read_text() == f'{LIFE} 20'
        lines = (tmp_path / f'rank{rank}.jsonl').read_text().split('\n')
        records = [json.loads(line) for line in lines if line]
        assert [record['update'] for record in records] == [5, 10, 15, 20]
        assert {record['life'] for record in records} == {LIFE}
        assert len({record['weights'] for record in records}) == 4
        last = records[-1]
        assert last['weights'] == weights.hexdigest()
        assert last['skipped'] == plan.skipped
        assert last['estimates'] == 10 - plan.skipped
        assert list(last['scales']) == list(SIZES) and last['scales']['backbone'] == 1.0
        assert last['kfac'] is None and len(last['buffers']) == 64
        assert last['memory'] is None or last['memory'] > 2**20


def test_the_record_after_a_line_that_was_cut_off_is_whole(tmp_path: Path) -> None:
    hook = soak.SoakHook(OPTIONS, LIFE)
    hook._name = tmp_path / 'rank0'
    (tmp_path / 'rank0.jsonl').write_text('{"update": 5, "li')
    model = ReplayNet(SIZES, torch.zeros(10))
    state = dict(skipped=0, modules=dict(backbone=dict(estimates=2.0, scale=1.0)))
    wrapper = SimpleNamespace(
        state_dict=lambda: dict(agvm=state),
        part=lambda kind: None,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
    )
    runner: Any = SimpleNamespace(model=model, optim_wrapper=wrapper, iter=9)
    hook.after_train_iter(runner)
    _, last = (tmp_path / 'rank0.jsonl').read_text().split('\n')[:2]
    assert json.loads(last)['update'] == 10


def test_the_checksum_knows_every_bit_and_what_is_not_finite() -> None:
    weights = [torch.arange(6.0).reshape(2, 3), torch.ones(2)]
    found = soak.checksum(weights)
    assert found == hashlib.sha256(b''.join(w.numpy().tobytes() for w in weights)).hexdigest()
    assert soak.checksum([torch.nn.Parameter(weight) for weight in weights]) == found
    changed = weights[0].clone()
    changed[1, 2] = torch.nextafter(changed[1, 2], torch.tensor(9.0))
    assert soak.checksum([changed, weights[1]]) != found
    for bad in (float('nan'), float('inf')):
        changed[0, 0] = bad
        assert soak.checksum([weights[1], changed]) == 'NaN'


@pytest.mark.skipif(not soak.STATUS.is_file(), reason="reads Linux's own figure")
def test_resident_memory_is_in_bytes() -> None:
    before = soak.resident_memory()
    # Pages of its own: an allocator may give memory that is resident already.
    with mmap.mmap(-1, 64 * 2**20) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        after = soak.resident_memory()
    assert before is not None and after is not None
    assert 60 < (after - before) / 2**20 < 96


def test_where_nobody_tells_there_is_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak, 'STATUS', tmp_path / 'status')
    assert soak.resident_memory() is None
    (tmp_path / 'status').write_text('VmPeak:\t 9999 kB\nVmRSS:\t  12 kB\nVmData:\t 7 kB\n')
    assert soak.resident_memory() == 12 * 1024


def test_the_config_is_that_of_the_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, 'model_config', lambda name: dict(type=name))
    options = Options(updates=60, ranks=3, images=2, save=10, check=5, kills=1, seed=4)
    cfg = soak.build_config(tmp_path, 2, options)
    assert cfg.model.type == 'tiny' and cfg.work_dir == str(tmp_path)
    # An epoch is the updates between two checkpoints: 10 of 3 ranks with 2 images.
    assert cfg.train_dataloader.dataset.length == 60 and cfg.train_dataloader.batch_size == 2
    assert cfg.train_cfg == dict(by_epoch=True, max_epochs=6)
    assert cfg.default_hooks.checkpoint.interval == 1
    assert cfg.optim_wrapper.type == 'AGVMAmpOptimWrapper'
    assert cfg.optim_wrapper.agvm.interval == INTERVAL
    assert cfg.randomness.seed == cfg.train_dataloader.dataset.seed == 4
    seeds, factors, hook = cfg.custom_hooks
    assert (seeds.type, factors.type) == ('SeedEpochHook', 'KFACStateHook')
    assert (hook.type, hook.life) == ('SoakHook', 2)
    assert Options(**hook.options) == options


@pytest.mark.parametrize(
    ('method', 'optimizer', 'kfac'),
    [('agvm', 'SGD', False), ('kfac', 'SGD', True), ('muon', 'MuonOptimizer', False)],
)
def test_the_method_is_that_of_the_options(
    method: str, optimizer: str, kfac: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soak, 'model_config', lambda name: dict(type=name))
    wrapper = soak.build_config(tmp_path, 0, Options(method=method)).optim_wrapper
    assert (wrapper.optimizer.type, 'kfac' in wrapper) == (optimizer, kfac)
    assert wrapper.agvm.interval == INTERVAL
    assert not kfac or wrapper.kfac.statistics_interval == INTERVAL  # judged by the same plan


def test_images_are_a_function_of_seed_and_index() -> None:
    pytest.importorskip('mmcv._ext', reason='mmdet needs the compiled ops of mmcv')
    images = soak.SoakImages(7, seed=1)
    assert len(images) == 7
    first, again = images[3], soak.SoakImages(7, seed=1)[3]
    assert first['inputs'].shape == (3, soak.SIZE, soak.SIZE)
    assert torch.equal(first['inputs'], again['inputs'])
    boxes, others = (one['data_samples'].gt_instances.bboxes.tensor for one in (first, again))
    assert torch.equal(boxes, others) and 1 <= len(boxes) <= 5
    for other in (images[4], soak.SoakImages(7, seed=2)[3]):
        assert not torch.equal(first['inputs'], other['inputs'])
