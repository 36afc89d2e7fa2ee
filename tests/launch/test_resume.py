"""--resume: where a run starts, and what is refused with the place to go on from instead."""

from __future__ import annotations

import logging
from pathlib import Path

import launch_toy
import pytest
import torch
from mmengine.config import Config

from agvm_mm.launch.errors import LaunchError, Note
from agvm_mm.launch.resume import check_resume, find_damage, set_resume
from agvm_mm.launch.runner import TrainOptions, build_runner, prepare_training


def save(path: Path) -> Path:
    torch.save(dict(state_dict=dict(weight=torch.randn(5000)), meta=dict(iter=3)), path)
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
    return set_resume(cfg, resume) + check_resume(cfg)


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
        (note,) = set_resume(cfg, 'auto') + check_resume(cfg)
        assert note.level == logging.WARNING
        assert (
            note.text == f'Nothing to resume in {tmp_path} (no last_checkpoint): training {start}.'
        )
        assert (cfg.resume, cfg.load_from) == (False, load_from)


def test_nothing_to_resume_by_the_config_is_a_warning_too(tmp_path: Path) -> None:
    cfg = Config(dict(work_dir=str(tmp_path), resume=True))
    (note,) = set_resume(cfg, None) + check_resume(cfg)
    assert note.text.endswith('training from scratch.') and cfg.resume is False


def test_auto_forgets_the_pretrained_weights_where_there_is_a_later_checkpoint(
    work_dir: Path,
) -> None:
    cfg = Config(dict(work_dir=str(work_dir), load_from='pretrained.pth'))
    assert set_resume(cfg, 'auto') == []
    assert (cfg.resume, cfg.load_from) == (True, None)
    assert set_resume(cfg, 'a.pth') == []
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
    assert set_resume(cfg, None) == []
    assert check_resume(cfg) == []
    cfg.resume = True
    with pytest.raises(LaunchError, match='missing.pth'):
        check_resume(cfg)
    # FlexibleRunner
    cfg.resume, cfg.load_from = 'other.pth', None
    with pytest.raises(LaunchError, match='other.pth'):
        check_resume(cfg)


def test_remote_and_directory_checkpoints_are_left_to_mmengine(tmp_path: Path) -> None:
    assert check(tmp_path, 's3://bucket/a.pth') == []
    assert check(tmp_path, str(tmp_path)) == []


def test_the_home_directory_is_mmengines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    save(tmp_path / 'a.pth')
    assert check(tmp_path, '~/a.pth') == []
    truncate(tmp_path / 'a.pth')
    with pytest.raises(LaunchError, match='~/a.pth cannot be resumed from: it is truncated'):
        check(tmp_path, '~/a.pth')
