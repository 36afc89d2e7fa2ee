"""No file is executed that the package or a tool reads."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from launcher import ROOT

# Names of functions that can run code which a file names.
DANGEROUS = ('eval', 'exec', 'system', 'popen', 'unsafe_load', 'full_load')
READERS = {'pickle': ('load', 'loads', 'Unpickler'), 'joblib': ('load',), 'yaml': ('load',)}


def _calls(path: Path) -> list[tuple[str, str, ast.Call]]:
    """Object, function and node of every call of a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Attribute):
                found.append((ast.unparse(function.value), function.attr, node))
            elif isinstance(function, ast.Name):
                found.append(('', function.id, node))
    return found


def _is_unsafe(owner: str, name: str, call: ast.Call) -> bool:
    keywords = {k.arg: ast.unparse(k.value) for k in call.keywords}
    if owner == 'torch' and name == 'load':
        return keywords.get('weights_only') != 'True'
    if name == 'load' and owner in ('', 'mmengine', 'fileio'):  # MMEngine's takes pickles too
        return 'file_format' not in keywords
    if keywords.get('allow_pickle') == 'True' or keywords.get('shell') == 'True':
        return True
    return name in READERS.get(owner, ()) or (owner in ('', 'os', 'yaml') and name in DANGEROUS)


def test_no_file_is_executed():
    """Of the package, its tools and the laboratory: neither unpickled nor evaluated."""
    found = [
        f'{path.relative_to(ROOT)}:{call.lineno}: {owner}.{name}'
        for folder in ('agvm_mm', 'agvm_runs', 'lab', 'tools')
        for path in sorted((ROOT / folder).rglob('*.py'))
        for owner, name, call in _calls(path)
        if _is_unsafe(owner, name, call)
    ]
    assert found == []


@pytest.mark.parametrize(
    ('line', 'unsafe'),
    [
        ('torch.load(path)', True),
        ('torch.load(path, weights_only=False)', True),
        ('torch.load(path, weights_only=True)', False),
        ('load(path)', True),
        ("load(path, file_format='json')", False),
        ('pickle.loads(data)', True),
        ('np.load(path, allow_pickle=True)', True),
        ('eval(text)', True),
        ('model.eval()', False),
        ('ast.literal_eval(text)', False),
    ],
)
def test_the_search_finds_them(tmp_path: Path, line: str, unsafe: bool):
    path = tmp_path / 'a.py'
    path.write_text(line)
    assert any(_is_unsafe(*call) for call in _calls(path)) is unsafe
