"""Public names have a docstring, and what a config can name is described in the pages."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from typing import Any, get_origin

import pytest
from docs_pages import PAGES, REFERENCE
from mmengine import registry as registries

import agvm_mm
import agvm_runs
from agvm_mm.loop.held import STEP_ORDER
from agvm_mm.parts import Part

SENTENCE = re.compile(r'[A-Z`"].* .*\.')
# Chosen by the tools, never by a config.
INTERNAL = {'UpdateParamSchedulerHook'}


def public() -> Iterator[tuple[str, Any]]:
    """Packages, and the classes and functions that they export."""
    inner = [
        info.name
        for package in (agvm_mm, agvm_runs)
        for info in pkgutil.walk_packages(package.__path__, f'{package.__name__}.')
        if info.ispkg
    ]
    for name in ['agvm_mm', 'agvm_runs', *inner]:
        package = importlib.import_module(name)
        yield name, package
        for symbol in getattr(package, '__all__', []):
            value = getattr(package, symbol)
            if get_origin(value) is not None:
                continue  # a name for a type, which Python 3.10 takes for a class
            if inspect.isclass(value) or inspect.isroutine(value):
                yield f'{name}.{symbol}', value


def registered() -> dict[str, Any]:
    """Components of ours by the name that a config gives."""
    found = {}
    for kind in vars(registries).values():
        if isinstance(kind, registries.Registry):
            found.update(
                (name, value)
                for name, value in kind.module_dict.items()
                if value.__module__.startswith('agvm_mm.')
            )
    return found


SYMBOLS = {**dict(public()), **registered()}
COMPONENTS = sorted(registered())


@pytest.mark.parametrize('name', SYMBOLS)
def test_a_docstring_begins_with_a_sentence(name: str) -> None:
    text = vars(SYMBOLS[name]).get('__doc__') if inspect.isclass(SYMBOLS[name]) else (
        SYMBOLS[name].__doc__)  # fmt: skip
    first, _, rest = (text or '').partition('\n')
    assert SENTENCE.fullmatch(first), f'the docstring of {name} begins with {first!r}'
    assert not rest.split('\n')[0].strip(), f'the first line of {name} goes on'


@pytest.mark.parametrize('name', COMPONENTS)
def test_a_component_is_described(name: str) -> None:
    if name in INTERNAL:
        pytest.skip('chosen by the tools')
    assert any(re.search(rf'\b{name}\b', page.read_text()) for page in PAGES)


@pytest.mark.parametrize('name', [*COMPONENTS, *agvm_mm.__all__])
def test_a_public_name_is_in_the_reference(name: str) -> None:
    value = SYMBOLS.get(name) or getattr(agvm_mm, name)
    if inspect.ismodule(value) or isinstance(value, str):
        pytest.skip('has no entry of its own')
    builder = value.__name__  # of an optimizer that has no class here
    text = '\n'.join(page.read_text() for page in REFERENCE)
    assert re.search(rf'^::: agvm_(mm|runs)\b.*\.({name}|{builder})$', text, re.MULTILINE)


@pytest.mark.parametrize('kind', STEP_ORDER)
def test_a_part_is_described_and_in_the_reference(kind: type[Part]) -> None:
    assert any(re.search(rf'\b{kind.key}\b', page.read_text()) for page in PAGES)
    text = '\n'.join(page.read_text() for page in REFERENCE)
    assert re.search(rf'^::: agvm_mm\.parts\.{kind.__name__}$', text, re.MULTILINE)


def test_there_are_symbols() -> None:
    assert len(COMPONENTS) > 20 and len(SYMBOLS) > 60
    assert {'AGVMOptimWrapper', 'LARSOptimizer', 'NFNet', *INTERNAL} <= set(COMPONENTS)
