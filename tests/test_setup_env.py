"""What set-up decides about the machine."""

from __future__ import annotations

import re

import pytest
from launcher import ROOT
from packaging.requirements import Requirement
from tool_modules import load_tool

setup_env = load_tool('setup_env.py')


@pytest.mark.parametrize('forced', [None, '0', '1'])
@pytest.mark.parametrize('gpu', [False, True])
def test_cuda_operators(forced: str | None, gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """FORCE_CUDA=1 is for a login node, which has the compiler and no GPU."""
    monkeypatch.delenv('FORCE_CUDA', raising=False)
    if forced is not None:
        monkeypatch.setenv('FORCE_CUDA', forced)
    expected = gpu if forced is None else forced == '1'
    assert setup_env.wants_cuda(gpu, compiler=True) is expected
    if forced == '1':
        with pytest.raises(setup_env.SetupError, match='^FORCE_CUDA is 1 and torch finds no CUDA'):
            setup_env.wants_cuda(gpu, compiler=False)
    else:
        assert setup_env.wants_cuda(gpu, compiler=False) is False


def test_the_readme_installs_a_torch_that_mmcv_compiles_with() -> None:
    """The headers of torch 2.14 need C++20; mmcv asks for C++17."""
    lines = re.findall(r"pip install '(torch[^']*)' 'setuptools", (ROOT / 'README.md').read_text())
    (asked,) = map(Requirement, lines)
    tested = setup_env.STACKS['onedl'].torch.removeprefix('torch==')
    assert asked.specifier.contains(tested) and not asked.specifier.contains('2.14.0')
