"""What is released works by itself: sdist, wheel, editable installation."""

from __future__ import annotations

import email
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from agvm_mm.compat import has_compiled_ops

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ('agvm_mm', 'agvm_runs')
FOLDERS = (*PACKAGES, 'configs', 'docs', 'examples', 'lab', 'tests', 'tools')
MIM = ('configs', 'tools', 'model-index.yml')
LEFT_OVER = ('__pycache__', '.mim', '*.egg-info')
STALE = 'configs/faster_rcnn/stale.py'
RECIPE = 'configs/faster_rcnn/faster-rcnn_r18_fpn_agvm-sgd_2xb4-10e_scenes.py'

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ('pip', 'setuptools', 'wheel')),
        reason='needs pip, setuptools and wheel',
    ),
]


def run(*command: object, cwd: Path, paths: tuple[Path, ...] = (), **variables: str) -> str:
    """What the command prints; of PYTHONPATH it sees ``paths`` alone."""
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(map(str, paths)), **variables}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def backend(hook: str, source: Path, out: Path) -> Path:
    """Call a build hook, as pip and build do; the file that it made."""
    code = f'from setuptools import build_meta as b; print("built", b.{hook}({str(out)!r}))'
    return out / run(sys.executable, '-c', code, cwd=source).split()[-1]


def names_below(*folders: Path, base: Path) -> set[str]:
    """Files, relative to ``base``."""
    paths = {path for folder in folders for path in (folder, *folder.rglob('*')) if path.is_file()}
    return {str(path.relative_to(base)) for path in paths if '__pycache__' not in path.parts}


class Built(NamedTuple):
    """A copy of the checkout and what was built from it."""

    source: Path
    sdist: set[str]
    wheel: Path
    wheel_of_sdist: Path
    new_files: set[str]


@pytest.fixture(scope='module')
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    work = tmp_path_factory.mktemp('build')
    source, out, unpacked = (work / name for name in ('source', 'out', 'unpacked'))
    ignore = shutil.ignore_patterns(*LEFT_OVER)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for path in ROOT.iterdir():
        if path.is_file() and path.name != '.git':
            shutil.copy(path, source)
    out.mkdir()
    before = names_below(source, base=source)

    (source / STALE).touch()  # gone again in the second build, which is the one looked at
    backend('build_wheel', source, out)
    (source / STALE).unlink()
    wheel = backend('build_wheel', source, out)
    archive = backend('build_sdist', source, out)
    new_files = names_below(source, base=source) - before

    with tarfile.open(archive) as tar:
        tar.extractall(unpacked, filter='data')
    (folder,) = unpacked.iterdir()
    sdist = names_below(folder, base=folder)
    (work / 'again').mkdir()
    again = backend('build_wheel', folder, work / 'again')
    return Built(source, sdist, wheel, again, new_files)


@pytest.fixture(scope='module')
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder with the wheel installed in it."""
    folder = tmp_path_factory.mktemp('installed')
    options = ('--no-deps', '--no-index', '--disable-pip-version-check', '--target')
    run(sys.executable, '-m', 'pip', 'install', *options, folder, built.wheel, cwd=folder)
    return folder


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if '.dist-info/' not in name}


def test_the_wheel_is_the_package_with_configs_and_tools_and_nothing_else(built: Built) -> None:
    package = names_below(*(built.source / name for name in PACKAGES), base=built.source)
    extra = names_below(*(built.source / name for name in MIM), base=built.source)
    assert 'agvm_mm/py.typed' in package and {RECIPE, 'tools/train.py'} < extra
    expected = package | {f'agvm_mm/.mim/{name}' for name in extra}
    assert names_in(built.wheel) == expected
    assert names_in(built.wheel_of_sdist) == expected


def test_the_sdist_is_the_checkout(built: Built) -> None:
    expected = names_below(*(built.source / name for name in FOLDERS), base=built.source)
    top = {'CHANGELOG.md', 'LICENSE', 'Makefile', 'README.md', 'mkdocs.yml', 'model-index.yml',
           'pyproject.toml'}  # fmt: skip
    assert expected | top <= built.sdist
    assert {name.split('/')[0] for name in built.sdist - expected - top} <= {
        'CITATION.cff', 'CONTRIBUTING.md', 'MANIFEST.in', 'PKG-INFO', 'agvm_mm.egg-info',
        'setup.cfg', 'setup.py',
    }  # fmt: skip


def test_the_wheel_requires_no_mmengine_and_has_the_stacks_as_extras(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith('.dist-info/METADATA'))
        metadata = email.message_from_bytes(archive.read(name))
    required = metadata.get_all('Requires-Dist')
    assert [entry for entry in required if 'extra ==' not in entry] == ['numpy>=1.26', 'torch>=2.1']
    for extra, package in (
        ('mmengine', 'mmengine'),
        ('onedl', 'onedl-mmdetection'),
        ('openmmlab', 'mmdet'),
        ('optimizers', 'pytorch_optimizer'),
        ('docs', 'mkdocs-material'),
    ):
        wanted = rf"{package}[\d.,<>=]+ ?; extra == ['\"]{extra}['\"]"
        assert any(re.fullmatch(wanted, entry) for entry in required), extra


def test_a_build_leaves_only_what_git_ignores(built: Built) -> None:
    assert {name.split('/')[0] for name in built.new_files} <= {'build', 'agvm_mm.egg-info'}


def test_an_editable_installation_links_to_the_checkout(built: Built, tmp_path: Path) -> None:
    links = built.source / 'agvm_mm' / '.mim'
    assert not links.exists()
    try:
        for _ in range(2):
            backend('build_editable', built.source, tmp_path)
        for name in MIM:
            assert (links / name).resolve() == built.source / name
        sdist = backend('build_sdist', built.source, tmp_path)
        with tarfile.open(sdist) as tar:
            assert not [name for name in tar.getnames() if '/.mim' in name]
    finally:
        shutil.rmtree(links)
    assert (built.source / RECIPE).exists()


def documented_names() -> set[str]:
    """``module:name`` of every import from our packages that a page shows."""
    found = set()
    pages = (*ROOT.glob('docs/*.md'), *ROOT.glob('docs/contributing/*.md'))
    for page in (ROOT / 'README.md', *pages):
        for module, names in re.findall(
            r'from (agvm_(?:mm|runs)[\w.]*) import (.+)', page.read_text()
        ):
            found |= {f'{module}:{name.strip()}' for name in names.split(',')}
    return found


def test_the_installed_package_imports_and_loads_its_configs(
    installed: Path, tmp_path: Path
) -> None:
    documented = documented_names()
    assert len(documented) > 2
    script = ROOT / 'tests' / 'installed_package.py'
    output = run(
        sys.executable, script, installed, *sorted(documented), cwd=tmp_path, paths=(installed,)
    )
    assert int(output.split()[-1]) == len(list(ROOT.glob('configs/**/*.py')))


@pytest.mark.skipif(not has_compiled_ops(), reason="needs mmcv's compiled operators")
def test_the_installed_tools_train_a_recipe(installed: Path, tmp_path: Path) -> None:
    """Two updates on drawn scenes."""
    mim = installed / 'agvm_mm' / '.mim'
    variables = dict(PYTHON=sys.executable, AGVM_MM_DATA=str(tmp_path / 'data'))

    def tool(*command: object) -> str:
        return run(*command, cwd=tmp_path, paths=(installed,), **variables)

    scenes = ['--train', '16', '--val', '4', '--size', '96', '96', '--seed', '0']
    draw = mim / 'tools' / 'dataset_converters' / 'generate_scenes.py'
    tool(sys.executable, draw, 'data/scenes', *scenes)
    short = ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'optim_wrapper.agvm.begin=0']
    tool(
        'bash', mim / 'tools' / 'dist_train.sh', mim / RECIPE, 2, '--work-dir', 'run',
        '--cfg-options', *short, 'default_hooks.logger.interval=1',
    )  # fmt: skip
    (log,) = (tmp_path / 'run').glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert sum('loss' in line for line in lines) == 2
    assert 'agvm/phi/backbone' in lines[0] and 'coco/bbox_mAP' in lines[-1]

    commands = ['--table', 'faster_rcnn', '--show', 'commands']
    assert RECIPE.split('/')[1] in tool(sys.executable, mim / 'tools' / 'reproduce.py', *commands)
