"""Whatever stands in ``agvm``, ``kfac`` and ``clip_grad``: it trains, or one sentence says why not.

Each case is built as a config is, sees the model and makes an update, so that a value that the
checks let pass has to work as well.
"""

from __future__ import annotations

import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from test_settings_fuzz import JUNK, NUMBERS, PLAUSIBLE

import agvm_mm
import agvm_runs

PACKAGES = tuple(str(Path(one.__file__).parent) for one in (agvm_mm, agvm_runs))
POSITIVE = NUMBERS | st.floats(-0.1, 3.0) | st.fractions(0, 1)
# Arrays have no truth value, and cannot be hashed.
WILD = JUNK | st.sampled_from([np.array([0.5, 10.0]), np.array(['cls', 'pred']), torch.ones(2)])
AGVM = {
    **PLAUSIBLE,
    'anchor': st.sampled_from(['backbone', 'head', 'neck', '']),
    'modules': st.sampled_from(
        [None, {}, {'backbone': ['backbone'], 'head': ['head']}, {'backbone': ['']},
         {'backbone': ['backbone']}, {'backbone': ['backbone', 'head']}, {'head': 'head'},
         {'backbone': ['backbone'], 'head': ['head', 'absent']}]
    ),
}  # fmt: skip
KFAC = {
    'damping': POSITIVE,
    'norm_damping': POSITIVE,
    'momentum': POSITIVE,
    'statistics_interval': st.integers(-1, 4),
    'inverse_interval': st.integers(-1, 12),
    'stale_threshold': st.none() | POSITIVE,
    'solver': st.sampled_from(['cholesky', 'eigen', 'lu']),
    'precision': st.sampled_from(['float32', 'float64', 'float16']),
    'max_size': st.integers(-1, 40),
    'max_block': st.none() | st.integers(-1, 40),
    'send': st.sampled_from(['gradients', 'solutions', 'factors']),
    'exclude': st.sampled_from([(), ['head'], ['nothing'], ['backbone.', ''], 'head']),
    'kl_clip': st.none() | POSITIVE,
    **{key: st.booleans() for key in ('norms', 'grouped', 'rescale_weights', 'half', 'overlap')},
}
CLIP = {
    'clip_factor': POSITIVE,
    'eps': POSITIVE,
    'exclude': st.sampled_from(
        ['cls', 'pred', 'none', '', '(', 'head', ['head', 'bias'], [], b'head', [b'head'],
         'a{99999999999999}', '(' * 500 + ')' * 500]
    ),
    'gain_mode': st.sampled_from(['vector', 'element', 'row', None]),
    'begin': st.integers(-1, 3),
    'end': st.none() | st.integers(-1, 3),
}  # fmt: skip
PARTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    'agvm': ('optim_wrapper.agvm', AGVM, {}),
    'kfac': ('optim_wrapper.kfac', KFAC, {}),
    'clip_grad': ('optim_wrapper.clip_grad', CLIP, {'type': 'agc'}),
}


class _Net(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
        self.head = torch.nn.Linear(4, 2)

    def forward(self, inputs: Any, mode: str = 'tensor') -> Any:
        return dict(loss=self.head(self.backbone(torch.stack(inputs))).square().mean())


IMAGES = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


def _train(part: str, values: Any) -> bool:
    """Two updates of two micro-batches; whether the weights stayed finite."""
    model = _Net()
    cfg = dict(
        type='AGVMOptimWrapper', optimizer=dict(type='AdamW', lr=1e-3), accumulative_counts=2
    )
    wrapper = build_optim_wrapper(model, {**cfg, 'agvm': None, part: values})
    wrapper.initialize_count_status(model, 0, 4)
    for step in range(4):
        model.train_step(dict(inputs=list(IMAGES[step % 2 :: 2])), wrapper)
    return all(bool(p.isfinite().all()) for p in model.parameters())


def _require_sentence(error: Exception, where: str, values: Any) -> None:
    """One sentence that names the key, and raised in this package."""
    text = str(error)
    place = traceback.extract_tb(error.__traceback__)[-1].filename
    assert place.startswith(PACKAGES), f'{type(error).__name__} from {place}: {text}'
    assert text.endswith('.') and '\n' not in text, text
    keys = values if isinstance(values, dict) else ()
    assert where in text or any(str(key) in text for key in keys), text


def _run(part: str, cases: int) -> Counter[str]:
    where, plausible, fixed = PARTS[part]
    outcomes: Counter[str] = Counter()
    likely = st.fixed_dictionaries({}, optional=plausible)
    keys = st.sampled_from(sorted(plausible)) | st.text(max_size=6)
    wild = st.just({}) | st.just({}) | st.dictionaries(keys, WILD, max_size=1)

    @settings(max_examples=cases, suppress_health_check=list(HealthCheck))
    @given(likely=likely, wild=wild)
    def check(likely: dict[str, Any], wild: dict[str, Any]) -> None:
        values = {**fixed, **likely, **wild}
        try:
            finite = _train(part, values)
        except (TypeError, ValueError) as error:
            outcomes['refused'] += 1
            _require_sentence(error, where, values)
        else:
            outcomes['trained'] += 1
            assert finite, values

    check()
    return outcomes


@pytest.mark.parametrize('part', list(PARTS))
def test_a_hundred_cases(part: str) -> None:
    outcomes = _run(part, 100)
    assert outcomes['trained'] >= 5 and outcomes['refused'] >= 10, outcomes


@pytest.mark.slow
@pytest.mark.parametrize('part', list(PARTS))
def test_a_thousand_cases(part: str) -> None:
    outcomes = _run(part, 1000)
    assert outcomes['trained'] >= 50 and outcomes['refused'] >= 100, outcomes


@pytest.mark.parametrize('part', list(PARTS))
@pytest.mark.parametrize('values', ['agc', 3, [1], True, np.ones(2), {3: 4}, dict(begin=1, end=0)])
def test_something_else_than_the_options(part: str, values: Any) -> None:
    if part == 'clip_grad' and isinstance(values, dict) and 3 in values:
        values = {'type': 'agc', **values}
    with pytest.raises((TypeError, ValueError)) as found:
        _train(part, values)
    _require_sentence(found.value, PARTS[part][0], values)


@pytest.mark.parametrize('value', [[], ['float32'], np.ones(2), {}])
def test_names_that_cannot_be_hashed_or_compared(value: Any) -> None:
    for part, key in (
        ('kfac', 'precision'),
        ('kfac', 'solver'),
        ('agvm', 'estimator'),
        ('agvm', 'average'),
        ('clip_grad', 'gain_mode'),
    ):
        with pytest.raises(ValueError, match=rf'{key} is .*; allowed is') as found:
            _train(part, {**PARTS[part][2], key: value})
        _require_sentence(found.value, PARTS[part][0], {key: value})
