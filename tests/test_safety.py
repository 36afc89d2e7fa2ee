"""No file is executed that the package or a tool reads."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from launcher import ROOT

# What can run code that a file or a text names, by its full name.
DANGEROUS = {
    *('eval', 'exec', 'compile', 'os.system', 'os.popen', 'runpy.run_path', 'runpy.run_module'),
    *('shelve.open', 'pandas.read_pickle', 'numpy.lib.format.read_array'),
    *(
        f'{module}.{name}'
        for module in ('pickle', '_pickle', 'cloudpickle', 'dill', 'joblib', 'marshal')
        for name in ('load', 'loads', 'Unpickler')
    ),
    *(f'yaml.{kind}load{more}' for kind in ('', 'full_', 'unsafe_') for more in ('', '_all')),
    *(f'yaml.{kind}Loader' for kind in ('', 'C', 'Full', 'Unsafe', 'CUnsafe')),
}
# Safe with one keyword alone. MMEngine's reader takes pickles, and YAML that names functions.
SAFE_WITH = {
    'torch.load': ('weights_only', 'True'),
    **dict.fromkeys(
        ('mmengine.load', 'mmengine.fileio.load', 'mmengine.fileio.io.load'),
        ('file_format', "'json'"),
    ),
}
NEVER = {'allow_pickle': 'True', 'shell': 'True', 'weights_only': 'False'}
# MMEngine reads a checkpoint by itself: the file must have been looked at.
LOADERS = ('load_checkpoint', '_load_checkpoint', 'load_from_local')
LOOKED_AT = 'require_plain'


def _aliases(tree: ast.AST) -> dict[str, str]:
    """Full names of what a file imports."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for entry in node.names:
                name = entry.name if entry.asname else entry.name.partition('.')[0]
                found[entry.asname or name] = name
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.update(
                {entry.asname or entry.name: f'{node.module}.{entry.name}' for entry in node.names}
            )
    return found


def _full_name(node: ast.AST, aliases: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return aliases.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f'{_full_name(node.value, aliases)}.{node.attr}'
    looked_up = isinstance(node, ast.Call) and _full_name(node.func, {}) == 'getattr'
    if looked_up and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
        return f'{_full_name(node.args[0], aliases)}.{node.args[1].value}'
    return '?'


def _unsafe(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of every use, called or only named, that can run what a file holds."""
    tree = ast.parse(path.read_text())
    aliases = _aliases(tree)
    keywords = {
        id(node.func): {k.arg: ast.unparse(k.value) for k in node.keywords}
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Name, ast.Attribute, ast.Call)):
            continue
        name, given = _full_name(node, aliases), keywords.get(id(node), {})
        key, value = SAFE_WITH.get(name, ('', ''))
        unsafe = (
            name.removeprefix('builtins.') in DANGEROUS
            or (key != '' and given.get(key) != value)
            or (name.rpartition('.')[2] in LOADERS and LOOKED_AT not in path.read_text())
            or any(given.get(word) == setting for word, setting in NEVER.items())
        )
        if unsafe:
            yield node.lineno, name


def test_no_file_is_executed():
    """Of the package, its tools and the laboratory: neither unpickled nor evaluated."""
    found = [
        f'{path.relative_to(ROOT)}:{line}: {name}'
        for folder in ('agvm_mm', 'agvm_runs', 'lab', 'tools')
        for path in sorted((ROOT / folder).rglob('*.py'))
        for line, name in _unsafe(path)
        # It asks which of MMEngine's loaders takes a name and calls none.
        if not (path.name == 'compat.py' and name.endswith('load_from_local'))
    ]
    assert found == []


@pytest.mark.parametrize(
    ('lines', 'unsafe'),
    [
        ('import torch; torch.load(path)', True),
        ('import torch; torch.load(path, weights_only=False)', True),
        ('import torch; torch.load(path, weights_only=True)', False),
        ('from torch import load as read; read(path)', True),
        ('import mmengine; mmengine.load(path)', True),
        ("import mmengine; mmengine.load(path, file_format='yaml')", True),
        ("import mmengine; mmengine.load(path, file_format='json')", False),
        ('import mmengine; mmengine.fileio.load(path, file_format=kind)', True),
        ('import mmengine.fileio as files; files.load(path)', True),
        ('from mmengine import fileio; fileio.load(path)', True),
        ('from mmengine.fileio import load; load(path)', True),
        ('from mmengine.fileio import load as read; read(path)', True),
        ('from mmengine.fileio import load; map(load, paths)', True),
        ("from mmengine.fileio import load; load(path, file_format='json')", False),
        ("import mmengine; getattr(mmengine.fileio, 'load')(path)", True),
        ('import yaml; yaml.load(text, Loader=yaml.SafeLoader)', True),
        ('import yaml; yaml.safe_load(text)', False),
        ('import pickle; pickle.loads(data)', True),
        ('import pickle as p; read = p.load', True),
        ('from pickle import UnpicklingError', False),
        ('import numpy as np; np.load(path, allow_pickle=True)', True),
        ('import subprocess; subprocess.run(text, shell=True)', True),
        ('eval(text)', True),
        ('model.eval()', False),
        ('import re; re.compile(text)', False),
        ('import ast; ast.literal_eval(text)', False),
        ('from mmengine.runner import load_checkpoint; load_checkpoint(model, path)', True),
        (
            'from mmengine.runner import load_checkpoint\n'
            'from agvm_mm.launch.checkpoint import require_plain\n'
            'require_plain(path); load_checkpoint(model, path)',
            False,
        ),
    ],
)
def test_the_search_finds_them(tmp_path: Path, lines: str, unsafe: bool):
    path = tmp_path / 'a.py'
    path.write_text(lines)
    assert bool(list(_unsafe(path))) is unsafe
