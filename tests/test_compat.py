"""The differences between the MMEngine stacks."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mmengine
import numpy as np
import pytest
import torch
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.logging import HistoryBuffer

from agvm_mm import compat

ROOT = Path(__file__).resolve().parents[1]
needs_allow_list = pytest.mark.skipif(
    not hasattr(torch.serialization, 'get_safe_globals'), reason='torch shows its list since 2.5'
)


def test_compat_itself_needs_no_mmengine() -> None:
    code = (
        'import importlib.util as u, sys\n'
        'sys.modules["mmengine"] = None\n'
        f'spec = u.spec_from_file_location("compat", {str(ROOT / "agvm_mm" / "compat.py")!r})\n'
        'compat = u.module_from_spec(spec)\n'
        'spec.loader.exec_module(compat)\n'
        'del sys.modules["mmengine"]\n'
        'compat.find_spec = lambda name: None\n'
        'compat.require_stack()\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('ImportError: agvm_mm needs MMEngine, which is not installed')
    assert 'onedl-mmengine, onedl-mmcv' in last and 'or mmengine' in last
    assert '--no-build-isolation' in last


def test_an_old_mmengine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmengine, '__version__', '0.8.5')
    with pytest.raises(ImportError, match='needs MMEngine .* or later, found 0.8.5: install'):
        compat.require_stack()


@pytest.mark.parametrize('version', ['0.10.7', '0.10.12', '0.11.0rc0', '1.0.0'])
def test_newer_ones_pass(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmengine, '__version__', version)
    compat.require_stack()


def test_the_table_names_the_package_where_the_distribution_is_absent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(MODULE2PACKAGE, 'json', 'surely-no-distribution')
    monkeypatch.setitem(MODULE2PACKAGE, 'no_such_package', 'surely-no-distribution')
    monkeypatch.setitem(MODULE2PACKAGE, 'string', 'numpy')
    monkeypatch.setitem(MODULE2PACKAGE, 'mmseg', MODULE2PACKAGE['mmseg'])
    compat.patch_config_packages()
    assert MODULE2PACKAGE['json'] == 'json'
    assert MODULE2PACKAGE['no_such_package'] == 'surely-no-distribution'
    assert MODULE2PACKAGE['string'] == 'numpy'


def test_a_segmentation_base_loads(tmp_path: Path) -> None:
    if importlib.util.find_spec('mmseg') is None:
        pytest.skip('MMSegmentation is not installed')
    from agvm_mm.launch.runner import load_config

    config = tmp_path / 'fcn.py'
    config.write_text("_base_ = 'mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py'\n")
    cfg = load_config(str(config))
    assert cfg.model.type == 'EncoderDecoder'
    assert cfg.default_scope == 'mmseg'


@needs_allow_list
def test_own_checkpoints_load_under_the_allow_list(tmp_path: Path) -> None:
    history = HistoryBuffer(np.array([0.5], dtype=np.float32), np.array([1]))
    history.update(0.25)
    content = dict(history=history, scalar=np.float64(1.5), flags=np.array([True]))
    torch.save(content, tmp_path / 'iter_1.pth')
    before = torch.serialization.get_safe_globals()
    try:
        torch.serialization.clear_safe_globals()
        with pytest.raises(Exception, match='HistoryBuffer|weights_only'):
            torch.load(tmp_path / 'iter_1.pth', weights_only=True)
        compat.allow_own_checkpoints()
        loaded = torch.load(tmp_path / 'iter_1.pth', weights_only=True)
        torch.save(dict(run=subprocess.run), tmp_path / 'foreign.pth')
        with pytest.raises(Exception, match='Unsupported global'):
            torch.load(tmp_path / 'foreign.pth', weights_only=True)
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)
    assert loaded['history'].mean() == history.mean()
    assert loaded['scalar'] == 1.5


@needs_allow_list
def test_importing_the_package_allows_nothing() -> None:
    code = (
        'import agvm_mm, agvm_mm.launch.runner, torch\n'
        'print(slice in torch.serialization.get_safe_globals())'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == 'False'


def test_missing_ops_have_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'mmcv._ext', None)
    message = compat.missing_ops_message('mmdet')
    assert message is not None
    assert 'mmcv' in message
    assert message.count('. ') == 0
    assert compat.missing_ops_message('mmseg') is None
    assert compat.missing_ops_message(None) is None
    built = SimpleNamespace(get_compiling_cuda_version=lambda: 'not available')
    monkeypatch.setitem(sys.modules, 'mmcv._ext', built)
    assert compat.missing_ops_message('mmdet') is None


def test_ops_without_cuda_are_missing_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = ['not available', '13.0']
    built = SimpleNamespace(get_compiling_cuda_version=lambda: versions[0])
    monkeypatch.setattr('mmcv._ext', built, raising=False)
    monkeypatch.setitem(sys.modules, 'mmcv._ext', built)
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    message = compat.missing_ops_message('mmdet')
    assert message is not None and 'without its CUDA operators' in message
    assert message.count('. ') == 0
    assert compat.missing_ops_message('mmseg') is None
    versions.pop(0)
    assert compat.missing_ops_message('mmdet') is None
