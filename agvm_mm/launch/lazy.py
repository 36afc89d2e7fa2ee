"""Packages whose ``__init__`` runs only when something of it is used.

Importing agvm_mm registers components with MMEngine and loads torch, which takes longer and more
memory than a tool needs that only reads text. Such a tool runs this file by its path and calls
:func:`load_lazily` before its first import of agvm_mm.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

LAZY = ('agvm_mm', 'agvm_mm.parts', 'agvm_mm.gradients', 'agvm_mm.statistics')


class LazyPackage(ModuleType):
    """A package that runs its ``__init__`` at the first name that is no module in it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or '_loaded' in self.__dict__:
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')
        if importlib.util.find_spec(f'{self.__name__}.{name}') is not None:
            return importlib.import_module(f'{self.__name__}.{name}')
        self._loaded = True
        assert self.__spec__ is not None and self.__spec__.loader is not None
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def load_lazily(package: Path) -> None:
    """Let the packages :data:`LAZY` in the folder ``package`` be lazy, unless they are loaded."""
    if 'agvm_mm' in sys.modules:
        return
    for name in LAZY:
        init = package.joinpath(*name.split('.')[1:], '__init__.py')
        spec = importlib.util.spec_from_file_location(name, init)
        assert spec is not None
        module = LazyPackage(name)
        module.__spec__, module.__file__ = spec, str(init)
        module.__path__, module.__package__ = [str(init.parent)], name
        sys.modules[name] = module
