"""The methods of the benchmark as configs of an optimizer wrapper."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agvm_mm.launch.errors import LaunchError
from agvm_runs.reproduce.recipes import METHODS as TITLES

BASE = 32
AGVM = 'agvm-'


@dataclass(frozen=True)
class Method:
    """One method with the options that are the same at every batch.

    Args:
        rate: where its search begins at batch 32; others begin at that times sqrt(batch / 32).
        optimizer: ``optim_wrapper.optimizer`` without ``lr``.
        wrapper: other keys of ``optim_wrapper``.
    """

    rate: float
    optimizer: Mapping[str, Any]
    wrapper: Mapping[str, Any] = field(default_factory=dict)


SGD = dict(type='SGD', momentum=0.9, weight_decay=1e-4)
CLIP = dict(clip_grad=dict(max_norm=10.0))
KFAC = dict(damping=1e-5, momentum=0.8, kl_clip=1e-3, max_block=256)
METHODS: Mapping[str, Method] = {
    'sgd': Method(0.2, SGD, CLIP),
    'adamw': Method(2e-3, dict(type='AdamW', weight_decay=0.05), CLIP),
    'lars': Method(0.7, dict(type='LARSOptimizer', trust_coefficient=0.01, weight_decay=1e-4)),
    'lamb': Method(0.01, dict(type='LAMBOptimizer', weight_decay=0.01)),
    'adan': Method(3e-3, dict(type='AdanOptimizer', weight_decay=0.02)),
    'soap': Method(3e-3, dict(type='SOAPOptimizer', weight_decay=0.05)),
    'muon': Method(
        3e-3,
        dict(type='MuonOptimizer', weight_decay=0.05),
        dict(constructor='MuonOptimWrapperConstructor'),
    ),
    'kfac-sgd': Method(0.04, SGD, dict(CLIP, kfac=KFAC)),
    'kfac-heads-sgd': Method(0.04, SGD, dict(CLIP, kfac=dict(KFAC, exclude=['backbone']))),
}
"""Methods by name; 'agvm-' before one of them adds AGVM, ':key=value' after it sets an option."""


def base_of(name: str) -> str:
    """'kfac-sgd' of 'agvm-kfac-sgd:damping=0.1'."""
    return name.removeprefix(AGVM).partition(':')[0]


def title_of(name: str) -> str:
    """'AGVM + SGD' of 'agvm-sgd', for figures."""
    base, options = base_of(name), name.partition(':')[2]
    title = 'K-FAC of the fresh parts + SGD' if base == 'kfac-heads-sgd' else TITLES[base]
    title = f'AGVM + {title}' if name.startswith(AGVM) else title
    return f'{title}, {options}' if options else title


def split_name(name: str) -> tuple[Method, dict[str, Any]]:
    """The method of 'agvm-kfac-sgd:damping=0.1,max_block=256' and the options it sets.

    Raises:
        LaunchError: there is no such method, or the options are not of this form.
    """
    base, text = base_of(name), name.partition(':')[2]
    if base not in METHODS:
        raise LaunchError(
            f'--methods holds {name!r}; allowed are {", ".join(METHODS)}, each with agvm- in front '
            'for AGVM and options behind, as in kfac-sgd:damping=0.1,max_block=256.'
        )
    try:
        pairs = (one.split('=') for one in text.split(',') if text)
        return METHODS[base], {key: ast.literal_eval(value) for key, value in pairs}
    except (ValueError, SyntaxError):
        raise LaunchError(
            f'--methods holds {name!r}; the options are key=value, with numbers as values, '
            'separated by commas.'
        ) from None


def first_rate(name: str, batch: int, rates: Mapping[str, float] | None = None) -> float:
    """Where a search begins; ``rates`` has a task's own at batch 32, by method."""
    method, _ = split_name(name)
    own = (rates or {}).get(base_of(name), method.rate)
    return own * math.sqrt(batch / BASE)


def wrapper_config(
    name: str,
    rate: float,
    batch: int,
    warmup: int,
    others: float = 1.0,
    rest: Sequence[str] = (),
    micro: int = BASE,
) -> dict[str, Any]:
    """``optim_wrapper`` of a method.

    Statistics that cost more than a step are renewed after a number of micro-batches, so that
    their cost does not depend on the batch: K-FAC's factors after 10, measured on one of them, its
    inverses after 40, SOAP's eigenvectors after 10, and at least at every update.

    Args:
        name: see :func:`split_name`; its options go to K-FAC where the method has it, else to
            the optimizer.
        rate: learning rate of the backbone.
        batch: images of an update.
        warmup: updates of warm-up, after which AGVM begins.
        others: multiplier of the rate of the modules ``rest``.
        rest: names of all modules but the backbone.
        micro: images of a micro-batch.
    """
    method, options = split_name(name)
    config: dict[str, Any] = dict(
        type='PartsOptimWrapper', optimizer=dict(method.optimizer, lr=rate), **method.wrapper
    )
    often, seldom = max(1, 10 * micro // batch), max(1, 40 * micro // batch)
    if 'kfac' in config:
        lengths = dict(
            statistics_interval=often,
            inverse_interval=seldom,
            measured_passes=max(1, batch // (10 * micro)),
            growing_intervals=False,
        )
        config['kfac'] = {**config['kfac'], **lengths, **options}
    else:
        config['optimizer'].update(options)
    if config['optimizer']['type'] == 'SOAPOptimizer':
        config['optimizer'].setdefault('precondition_frequency', often)
    if name.startswith(AGVM):
        config.update(
            type='AGVMOptimWrapper', agvm=dict(interval=often, begin=warmup, momentum=0.9)
        )
    if others != 1:
        keys = {module: dict(lr_mult=others) for module in rest}
        config.update(paramwise_cfg=dict(custom_keys=keys), join_groups=True)
    return config
