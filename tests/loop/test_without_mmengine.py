"""Without MMEngine the package imports, trains by ``attach`` and says what else is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCKED = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'rich', 'yaml', 'matplotlib', 'addict')
BLOCK = f'import sys\nfor name in {BLOCKED}: sys.modules[name] = None\n'


def run(code: str, folder: Path = ROOT / 'tests' / 'loop') -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), str(folder), os.environ.get('PYTHONPATH', '')])
    return subprocess.run(
        [sys.executable, '-c', BLOCK + code],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': paths},
        timeout=120,
    )


def test_attach_trains_with_every_part_and_own_optimizers() -> None:
    done = run(
        'import agvm_mm, attach_runs as runs\n'
        'from agvm_mm.optimizers import LAMBOptimizer, MuonOptimizer, split_parameters\n'
        'model = runs.Detector()\n'
        'optimizer = LAMBOptimizer(model.parameters(), lr=0.01)\n'
        'handle = agvm_mm.attach(model, optimizer, accumulation=2,\n'
        '    agvm=dict(interval=1, precondition=True), kfac=dict(statistics_interval=1),\n'
        '    clip=dict(clip_factor=0.1))\n'
        'for _ in runs.plain(model, optimizer, 0, range(3)): pass\n'
        'assert sorted(handle.state_dict()) == ["agvm", "kfac", "updates"]\n'
        'found = sorted({name.split("/")[0] for name in handle.scalars()})\n'
        'assert found == ["agc", "agvm", "kfac"], found\n'
        'model.float()\n'
        'split = split_parameters(model)\n'
        'MuonOptimizer(model.parameters(), lr=0.02, split=split)\n'
        'assert not any(name.startswith(("mmengine.", "mmcv.")) for name in sys.modules)\n'
        'print("done")\n'
    )
    assert done.stdout == 'done\n', done.stderr


@pytest.mark.parametrize(
    'line',
    [
        'from agvm_mm import AGVMOptimWrapper',
        'import agvm_mm; agvm_mm.hooks',
        'from agvm_mm.launch.runner import load_config',
    ],
)
def test_what_needs_mmengine_says_so_in_one_sentence(line: str) -> None:
    done = run(line)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('ImportError: agvm_mm needs MMEngine, which is not installed: install')
    assert last.endswith('.') and 'agvm_mm[' in last


def test_another_name_is_no_matter_of_mmengine() -> None:
    done = run('import agvm_mm\nagvm_mm.AGVMOptimWraper')
    last = done.stderr.strip().splitlines()[-1]
    assert last == "AttributeError: module 'agvm_mm' has no attribute 'AGVMOptimWraper'"


def test_with_mmengine_a_custom_import_registers_everything() -> None:
    done = subprocess.run(
        [
            sys.executable,
            '-c',
            'from mmengine.registry import HOOKS, OPTIM_WRAPPERS, OPTIMIZERS\n'
            'from mmengine.utils import import_modules_from_strings\n'
            "import_modules_from_strings(['agvm_mm'], allow_failed_imports=False)\n"
            "print(all([HOOKS.get('CurriculumHook'), OPTIM_WRAPPERS.get('AGVMOptimWrapper'),\n"
            "           OPTIMIZERS.get('MuonOptimizer'), OPTIMIZERS.get('LARSOptimizer')]))\n",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert done.stdout.split()[-1:] == ['True'], done.stderr
