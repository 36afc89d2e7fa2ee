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
    from mmengine import registry
    from mmengine.config import Config
    from mmengine.hub import get_config

    for name, library in (
        ('faster_rcnn/faster-rcnn_r50_fpn_agvm-sgd_8xb2-12e_coco.py', 'mmdet'),
        ('sem_fpn/fpn_r50_agvm-sgd_4xb4-80k_ade20k-512x512.py', 'mmseg'),
        ('faster_rcnn/faster-rcnn_r18_fpn_sgd_2xb16-16e_scenes.py', 'mmdet'),
    ):
        Path('child.py').write_text(f"_base_ = 'agvm_mm::{name}'\ntotal_batch_size = 64\n")
        recipe, child = get_config(f'agvm_mm::{name}'), Config.fromfile('child.py')
        assert child.optim_wrapper.optimizer == recipe.optim_wrapper.optimizer
        assert child.optim_wrapper.type == recipe.optim_wrapper.type
        # MMEngine looks an inherited type up in the package that the recipe inherits it from.
        importlib.import_module(f'{library}.registry')
        importlib.import_module(f'{library}.engine')
        registry.init_default_scope(library)
        for kind, entries in (
            (registry.OPTIM_WRAPPERS, [child.optim_wrapper]),
            (registry.PARAM_SCHEDULERS, child.param_scheduler),
            (registry.HOOKS, child.default_hooks.values()),
            (registry.LOOPS, [child.train_cfg, child.val_cfg, child.test_cfg]),
            (registry.DATASETS, [child.train_dataloader.dataset]),
            (registry.TRANSFORMS, child.train_dataloader.dataset.pipeline),
            (registry.MODELS, [child.model]),
            (registry.METRICS, [child.val_evaluator]),
        ):
            for entry in entries:
                with kind.switch_scope_and_registry(entry.get('_scope_', library)) as found:
                    assert found.get(entry.type) is not None, entry
                    assert found.scope in ('agvm_mm', library), entry


def main() -> None:
    folder, *documented = sys.argv[1:]
    package = Path(agvm_mm.__file__).parent
    assert package == Path(folder) / 'agvm_mm', f'{package} was imported'
    import_everything(documented)
    find_configs_by_name()
    print(load_every_config(package / '.mim'))


if __name__ == '__main__':
    main()
