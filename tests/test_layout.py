"""Names in tests/ that pytest needs to differ, and the layers of the packages."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROW = re.compile(r'^ {6}(\w+)(?:/|\.py) ', re.MULTILINE)
OUTSIDE = {'__init__', 'version'}  # the package's own face
PACKAGES = ('agvm_runs', 'agvm_mm', 'lab')


def test_no_two_modules_share_a_name():
    """Without packages in tests/, the second of two equal names would not be imported."""
    names = Counter(path.name for path in Path(__file__).parent.rglob('*.py'))
    names.pop('conftest.py')
    assert [name for name, count in names.items() if count > 1] == []


def layers(package: str) -> list[str]:
    """The rooms in the order in which docs/contributing/design.md lists them."""
    text = (ROOT / 'docs' / 'contributing' / 'design.md').read_text()
    return ROW.findall(text.split(f'\n    {package}/\n')[1].split('\n\n')[0])


ROOMS = [(package, room) for package in PACKAGES for room in layers(package)]


def lower(text: str, package: list[str], room: str, order: list[str]) -> list[str]:
    """What a module of ``room`` imports from below it, or from the face of the package.

    Args:
        text: the module.
        package: that it is in, as in ['agvm_mm', 'analysis', 'page'].
        room: where it belongs.
        order: all rooms, from above.
    """
    allowed = order[: order.index(room) + 1]
    return [name for name in imported(text, package) if name not in allowed]


def imported(text: str, package: list[str]) -> Iterator[str]:
    """The part after its package's name of every name that a module imports from there."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name.split('.') for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base += node.module.split('.') if node.module else []
            names = [[*base, alias.name] for alias in node.names]
        else:
            continue
        yield from (name[1] for name in names if name[0] == package[0] and len(name) > 1)


def test_every_room_has_its_place_in_the_design():
    for package in ('agvm_mm', 'agvm_runs'):
        rooms = {path.stem for path in ROOT.glob(f'{package}/*.py')}
        rooms |= {path.parent.name for path in ROOT.glob(f'{package}/*/*.py')}
        assert sorted(layers(package)) == sorted(rooms - OUTSIDE)
    assert sorted(layers('lab')) == sorted(
        path.parent.name for path in ROOT.glob('lab/*/__init__.py')
    )


@pytest.mark.parametrize(('package', 'room'), ROOMS)
def test_a_room_imports_only_from_those_above_it(package: str, room: str):
    found = {}
    for path in [*ROOT.glob(f'{package}/{room}.py'), *(ROOT / package / room).rglob('*.py')]:
        parts = list(path.relative_to(ROOT).parts[:-1])
        found[path.name] = lower(path.read_text(), parts, room, layers(package))
    assert found and {name: rooms for name, rooms in found.items() if rooms} == {}


def test_nothing_that_is_installed_imports_the_laboratory():
    found = [
        str(path.relative_to(ROOT))
        for folder in ('agvm_mm', 'agvm_runs', 'tools', 'configs')
        for path in (ROOT / folder).rglob('*.py')
        if re.search(r"^ *(from|import) lab\b|'lab\b", path.read_text(), re.MULTILINE)
    ]
    assert found == []


@pytest.mark.parametrize('folder', ['agvm_runs', 'tools'])
def test_what_reads_runs_imports_neither_torch_nor_the_package_that_trains(folder: str):
    found = {
        f'{path.name}: {name}'
        for path in (ROOT / folder).rglob('*.py')
        if folder == 'agvm_runs' or path.name in ('report.py', 'plot_variance.py', 'reproduce.py')
        for name in re.findall(r'^ *(?:from|import) (\w+)', path.read_text(), re.MULTILINE)
        if name in ('agvm_mm', 'lab', 'torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg')
    }
    assert found == set()


@pytest.mark.parametrize(
    'line',
    [
        'from ...wrappers import PartsMixin',
        'from ... import wrappers',
        'from agvm_mm.wrappers.wrapper import PartsMixin',
        'import agvm_mm.wrappers',
        'def build():\n    from ...wrappers.wrapper import PartsMixin',
        'from agvm_mm import wrappers, statistics',
    ],
)
def test_an_import_from_a_lower_room_is_found(line: str):
    order = ['statistics', 'gradients', 'wrappers']
    assert lower(line, ['agvm_mm', 'gradients', 'inner'], 'gradients', order) == ['wrappers']
    assert lower(line, ['agvm_mm', 'wrappers', 'inner'], 'wrappers', order) == []


def test_the_face_of_the_package_is_above_nothing():
    found = lower('from . import wrappers', ['agvm_mm'], 'compat', ['compat', 'wrappers'])
    assert found == ['wrappers']
    found = lower('from agvm_mm import AGVMSettings', ['agvm_mm', 'parts'], 'parts', ['parts'])
    assert found == ['AGVMSettings']
