"""Without MMEngine the package imports, trains by ``attach`` and says what else is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
        timeout=240,
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


NEEDS_IT = (
    'from agvm_mm import AGVMOptimWrapper',
    'import agvm_mm; agvm_mm.hooks',
    'from agvm_mm.launch.runner import load_config',
)
NO_MATTER_OF_IT = 'import agvm_mm; agvm_mm.AGVMOptimWraper'


def test_what_needs_mmengine_says_so_in_one_sentence() -> None:
    done = run(
        f'for line in {[*NEEDS_IT, NO_MATTER_OF_IT]}:\n'
        '    try: exec(line)\n'
        '    except Exception as error: print(type(error).__name__, error)\n'
    )
    *missing, typo = done.stdout.splitlines()
    assert len(missing) == len(NEEDS_IT), done.stderr
    for text in missing:
        assert text.startswith('ImportError agvm_mm needs MMEngine, which is not installed: inst')
        assert 'agvm_mm[mmengine]' in text and text.endswith('.')
    assert typo == "AttributeError module 'agvm_mm' has no attribute 'AGVMOptimWraper'"
