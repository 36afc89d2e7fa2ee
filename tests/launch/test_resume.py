"""--resume: where a run starts, and what is refused with the place to go on from instead."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZipFile

import launch_toy
import pytest
import torch
from mmengine.config import Config
from torch_versions import tells_names

from agvm_mm.launch.checkpoint import (
    check_checkpoint,
    choose_checkpoint,
    find_damage,
    require_plain,
)
from agvm_mm.launch.errors import LaunchError, Note
from agvm_mm.launch.runner import TrainOptions, build_runner, prepare_training


def save(path: Path) -> Path:
    rest = dict(meta=dict(iter=3), optimizer={}, param_schedulers=[])
    torch.save(dict(state_dict=dict(weight=torch.randn(5000)), **rest), path)
    return path


def truncate(path: Path) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def flip_a_byte(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path


def check(work_dir: Path, resume: str) -> list[Note]:
    cfg = Config(dict(work_dir=str(work_dir), load_from='pretrained.pth'))
    return start(cfg, resume)


def start(cfg: Config, resume: str | None) -> list[Note]:
    checkpoint, notes = choose_checkpoint(cfg, resume)
    if checkpoint is not None:
        check_checkpoint(cfg, checkpoint, 'load_from')
    return notes


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """Three checkpoints, of which MMEngine would take the last."""
    for number in (90, 100, 110):
        save(tmp_path / f'iter_{number}.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_110.pth'))
    return tmp_path


def test_whole_checkpoints_pass(work_dir: Path) -> None:
    assert check(work_dir, 'auto') == []
    assert check(work_dir, str(work_dir / 'iter_90.pth')) == []
    torch.save({}, work_dir / 'old.pth', _use_new_zipfile_serialization=False)
    assert find_damage(work_dir / 'old.pth') is None


def test_a_truncated_checkpoint_names_the_one_before(work_dir: Path) -> None:
    truncate(work_dir / 'iter_110.pth')
    with pytest.raises(LaunchError, match='iter_110.pth .* truncated.*iter_100.pth'):
        check(work_dir, 'auto')


def test_the_one_before_must_be_whole_itself(work_dir: Path) -> None:
    truncate(work_dir / 'iter_110.pth')
    flip_a_byte(work_dir / 'iter_100.pth')
    with pytest.raises(LaunchError, match='--resume .*iter_90.pth'):
        check(work_dir, str(work_dir / 'iter_110.pth'))


def test_without_one_before(work_dir: Path) -> None:
    for path in work_dir.glob('*.pth'):
        truncate(path)
    with pytest.raises(LaunchError, match='has no other whole checkpoint'):
        check(work_dir, 'auto')


def test_a_flipped_bit_is_found_where_torch_reads_on(work_dir: Path) -> None:
    path = flip_a_byte(work_dir / 'iter_110.pth')
    torch.load(path)
    assert 'is damaged' in str(find_damage(path))


CENTRAL = b'PK\x01\x02'


def entry_of(content: bytes, name: bytes) -> int:
    """Where the list at the end of an archive has the last record of that name."""
    return content.rfind(CENTRAL, 0, content.rfind(name))


@pytest.mark.parametrize(
    ('field', 'offset', 'mask'),
    [
        ('encrypted', 8, 0x01),
        ('method', 10, 0x08),
        ('checksum', 16, 0x01),
        ('compressed size', 20, 0x04),
        ('size', 24, 0x04),
        ('directory flag', 38, 0x10),
        ('place', 42, 0x40),
        ('name', 46, 0x20),
    ],
)
def test_a_flipped_bit_in_the_list_of_records(
    work_dir: Path, field: str, offset: int, mask: int
) -> None:
    path = work_dir / 'iter_110.pth'
    content = bytearray(path.read_bytes())
    content[entry_of(content, b'/data/0') + offset] ^= mask
    path.write_bytes(content)
    assert 'damaged' in str(find_damage(path))


@tells_names
def test_no_flipped_bit_of_the_list_of_records_changes_a_value(tmp_path: Path) -> None:
    """Every bit of it, and of the lines after it: refused, or read as it was written."""
    path = tmp_path / 'a.pth'
    weight = torch.arange(1.0, 40.0)
    torch.save(dict(weight=weight), path)
    whole = path.read_bytes()
    refused = 0
    for bit in range(8 * whole.find(CENTRAL), 8 * len(whole)):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        try:
            require_plain(path)
        except LaunchError:
            refused += 1
        else:
            assert torch.equal(torch.load(path, weights_only=True)['weight'], weight)
    assert refused > 1000


def test_a_record_that_is_there_twice(tmp_path: Path) -> None:
    path = tmp_path / 'a.pth'
    torch.save(dict(weight=torch.ones(3)), path)
    with ZipFile(path, 'a') as archive:
        record = next(name for name in archive.namelist() if name.endswith('data/0'))
        archive.writestr(record.upper(), bytes(12))  # torch finds it in either case
    assert find_damage(path) == f'its record {record.upper()} is damaged'


@pytest.mark.parametrize('method', [ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA])
def test_torch_compresses_nothing(tmp_path: Path, method: int) -> None:
    """And a damaged stream would end in an error of its own."""
    torch.save(dict(weight=torch.ones(3)), tmp_path / 'a.pth')
    with ZipFile(tmp_path / 'a.pth') as whole, ZipFile(tmp_path / 'b.pth', 'w', method) as packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    assert 'is damaged' in str(find_damage(tmp_path / 'b.pth'))


@tells_names
def test_a_record_that_is_too_short_for_its_tensor(tmp_path: Path) -> None:
    """Its size and checksum agree; torch finds out as it reads the tensor."""
    torch.save(dict(weight=torch.ones(3)), tmp_path / 'a.pth')
    with ZipFile(tmp_path / 'a.pth') as whole, ZipFile(tmp_path / 'b.pth', 'w') as short:
        for name in whole.namelist():
            content = whole.read(name)
            short.writestr(name, content[:-1] if name.endswith('data/0') else content)
    with pytest.raises(LaunchError, match='b.pth cannot be loaded: torch cannot read it as one'):
        require_plain(tmp_path / 'b.pth')


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / 'a.pth')

    def fail(*_: object) -> None:
        raise OSError(5, 'Input/output error')

    monkeypatch.setattr('agvm_mm.launch.checkpoint.ZipFile', fail)
    assert find_damage(path) == 'it cannot be read (Input/output error)'


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / 'empty.pth').touch()
    (tmp_path / 'text.pth').write_text('not found')
    assert find_damage(tmp_path / 'empty.pth') == 'it is empty'
    assert find_damage(tmp_path / 'text.pth') == 'it is no checkpoint of torch'


def test_a_path_that_is_not_there(work_dir: Path) -> None:
    with pytest.raises(LaunchError, match='missing.pth cannot .*no such file.*iter_110.pth'):
        check(work_dir, 'missing.pth')


def test_a_deleted_latest_checkpoint(work_dir: Path) -> None:
    (work_dir / 'iter_110.pth').unlink()
    with pytest.raises(LaunchError, match='no such file.*iter_100.pth'):
        check(work_dir, 'auto')


def test_nothing_to_resume_is_a_warning(tmp_path: Path) -> None:
    for load_from, start in ((None, 'from scratch'), ('a.pth', 'from load_from=a.pth')):
        cfg = Config(dict(work_dir=str(tmp_path), load_from=load_from))
        checkpoint, (note,) = choose_checkpoint(cfg, 'auto')
        assert checkpoint == load_from
        assert note.level == logging.WARNING
        assert (
            note.text == f'Nothing to resume in {tmp_path} (no last_checkpoint): training {start}.'
        )
        assert (cfg.resume, cfg.load_from) == (False, load_from)


def test_nothing_to_resume_by_the_config_is_a_warning_too(tmp_path: Path) -> None:
    cfg = Config(dict(work_dir=str(tmp_path), resume=True))
    (note,) = start(cfg, None)
    assert note.text.endswith('training from scratch.') and cfg.resume is False


def test_auto_forgets_the_pretrained_weights_where_there_is_a_later_checkpoint(
    work_dir: Path,
) -> None:
    cfg = Config(dict(work_dir=str(work_dir), load_from='pretrained.pth'))
    assert choose_checkpoint(cfg, 'auto') == (str(work_dir / 'iter_110.pth'), [])
    assert (cfg.resume, cfg.load_from) == (True, None)
    assert choose_checkpoint(cfg, 'a.pth') == ('a.pth', [])
    assert (cfg.resume, cfg.load_from) == (True, 'a.pth')


@pytest.mark.usefixtures('quick_start')
def test_a_job_that_always_resumes_starts_from_the_pretrained_weights(tmp_path: Path) -> None:
    model = launch_toy.LaunchToyModel()
    torch.nn.init.constant_(model.conv.weight, 7.0)
    torch.save(model.state_dict(), tmp_path / 'pretrained.pth')
    weights = []
    for end in (3, 6):
        cfg = launch_toy.config(
            tmp_path / 'work',
            experiment_name=f'until{end}',  # both may start in one second
            load_from=str(tmp_path / 'pretrained.pth'),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
            train_cfg=dict(by_epoch=False, max_iters=end),
        )
        cfg.launcher = 'none'
        build_runner(cfg, prepare_training(cfg, TrainOptions(resume='auto'))).train()
        weights += [update['weights'][0] for update in launch_toy.recorded(tmp_path / 'work')]
    assert weights == [7.0] * 6  # three updates of each launch: the second has resumed


def test_without_the_flag_the_config_decides(tmp_path: Path) -> None:
    cfg = Config(dict(work_dir=str(tmp_path), load_from='missing.pth'))
    assert choose_checkpoint(cfg, None) == ('missing.pth', [])
    cfg.resume = True
    with pytest.raises(LaunchError, match='missing.pth cannot be resumed'):
        start(cfg, None)
    # FlexibleRunner
    cfg.resume, cfg.load_from = 'other.pth', None
    with pytest.raises(LaunchError, match='other.pth cannot be resumed'):
        start(cfg, None)


def test_the_latest_checkpoint_is_looked_up_and_read_once(
    work_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []

    def record(of: Callable[..., Any]) -> Callable[..., Any]:
        def read(path: Any, *args: Any, **kwargs: Any) -> Any:
            reads.append(Path(path).name)
            return of(path, *args, **kwargs)

        return read

    monkeypatch.setattr(Path, 'read_text', record(Path.read_text))
    monkeypatch.setattr('agvm_mm.launch.checkpoint.ZipFile', record(ZipFile))
    cfg = Config(dict(work_dir=str(work_dir), launcher='none'))
    assert prepare_training(cfg, TrainOptions(resume='auto')) == []
    assert sorted(reads) == ['iter_110.pth', 'last_checkpoint']


def test_remote_and_directory_checkpoints_are_left_to_mmengine(tmp_path: Path) -> None:
    assert check(tmp_path, 's3://bucket/a.pth') == []
    with pytest.raises(LaunchError, match='cannot be resumed from: it is a directory'):
        check(tmp_path, str(tmp_path))
    cfg = Config(dict(work_dir=str(tmp_path), strategy=dict(type='DeepSpeedStrategy')))
    assert start(cfg, str(tmp_path)) == []


def test_the_home_directory_is_mmengines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    save(tmp_path / 'a.pth')
    assert check(tmp_path, '~/a.pth') == []
    truncate(tmp_path / 'a.pth')
    with pytest.raises(LaunchError, match='~/a.pth cannot be resumed from: it is truncated'):
        check(tmp_path, '~/a.pth')
