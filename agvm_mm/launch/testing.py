"""The parts of tools/test.py that differ between detection and segmentation."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.evaluator import DumpResults

from .errors import LaunchError

PICKLES = ('.pkl', '.pickle')


def show_predictions(cfg: Config, show: bool, show_dir: str | None, wait_time: float) -> None:
    """Switch the visualization hook on, in a window, into a directory, or both.

    Raises:
        LaunchError: the config has no visualization hook.
    """
    if not show and show_dir is None:
        return
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if hook is None:
        raise LaunchError('--show and --show-dir need default_hooks.visualization in the config.')
    hook['draw'] = True
    if show:
        hook.update(show=True, wait_time=wait_time)
    if show_dir is not None and _is_segmentation(cfg):
        cfg.visualizer['save_dir'] = show_dir
    elif show_dir is not None:
        hook['test_out_dir'] = show_dir


def use_test_time_augmentation(cfg: Config) -> None:
    """Wrap the model in ``tta_model`` and read the images through ``tta_pipeline``.

    Raises:
        LaunchError: the config lacks one of them.
    """
    for key in ('tta_model', 'tta_pipeline'):
        if cfg.get(key) is None:
            raise LaunchError(f'--tta needs {key} in the config, which is not set.')
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    dataset['pipeline'] = cfg.tta_pipeline
    cfg.model = {**cfg.tta_model, 'module': cfg.model}


def check_out(cfg: Config, out: str | None) -> None:
    """Enter ``--out`` where it is a directory, into which MMSegmentation writes its maps.

    Raises:
        LaunchError: it is neither that nor a pickle file.
    """
    if out is None or out.endswith(PICKLES):
        return
    if not _is_segmentation(cfg):
        raise LaunchError(f'--out is {out!r}; allowed is a file ending in {" or ".join(PICKLES)}.')
    cfg.test_evaluator.update(output_dir=out, keep_results=True)


def dump_predictions(runner: Any, cfg: Config, out: str | None) -> None:
    """Add the metric that writes all predictions to the pickle file ``out``."""
    if out is None or not out.endswith(PICKLES):
        return
    if cfg.get('default_scope') == 'mmdet':
        from mmdet.evaluation import DumpDetResults as Dump  # encodes masks
    else:
        Dump = DumpResults  # noqa: N806  a class
    runner.test_evaluator.metrics.append(Dump(out_file_path=out))


def _is_segmentation(cfg: Config) -> bool:
    return bool(cfg.get('default_scope') == 'mmseg')
