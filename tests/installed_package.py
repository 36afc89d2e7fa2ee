"""Run by test_packaging.py on its own, outside of the checkout: what an installed package can do.

    python installed_package.py FOLDER [MODULE:NAME ...]

FOLDER is where the wheel was installed; each MODULE:NAME has to be there.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from functools import cache
from pathlib import Path

import mmengine.config.utils as config_utils

import agvm_mm
import agvm_runs


def import_everything(documented: list[str]) -> None:
    for package in (agvm_mm, agvm_runs):
        for module in pkgutil.walk_packages(package.__path__, f'{package.__name__}.'):
            found = importlib.import_module(module.name)
            for name in getattr(found, '__all__', []):
                getattr(found, name)
    for entry in documented:
        module_name, _, name = entry.partition(':')
        getattr(importlib.import_module(module_name), name)


def load_every_config(mim: Path) -> int:
    from mmengine.config import Config

    # MMEngine reads all metafiles of a package anew for every base.
    config_utils.load = cache(config_utils.load)
    paths = sorted(mim.glob('configs/**/*.py'))
    for path in paths:
        Config.fromfile(path)
    return len(paths)


def find_configs_by_name() -> None:
    """As MMEngine's hub and the ``_base_`` of a user's config name them."""
    from mmengine.config import Config
    from mmengine.hub import get_config
    from mmengine.registry import PARAM_SCHEDULERS

    name = 'agvm_mm::faster_rcnn/faster-rcnn_r50_fpn_agvm-sgd_8xb2-12e_coco.py'
    Path('child.py').write_text(f"_base_ = '{name}'\ntotal_batch_size = 64\n")
    recipe, child = get_config(name), Config.fromfile('child.py')
    assert child.optim_wrapper == recipe.optim_wrapper
    assert child.optim_wrapper.type == 'AGVMOptimWrapper'
    # An inherited type gets its package as a scope, which the registries have to know.
    (scope,) = {schedule['_scope_'] for schedule in child.param_scheduler}
    for schedule in child.param_scheduler:
        assert PARAM_SCHEDULERS.get(f'{scope}.{schedule.type}') is not None


def main() -> None:
    folder, *documented = sys.argv[1:]
    package = Path(agvm_mm.__file__).parent
    assert package == Path(folder) / 'agvm_mm', f'{package} was imported'
    import_everything(documented)
    find_configs_by_name()
    print(load_every_config(package / '.mim'))


if __name__ == '__main__':
    main()
