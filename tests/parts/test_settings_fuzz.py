"""Whatever stands in ``agvm=dict(...)``: valid settings, or one sentence that names the key."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agvm_runs.settings import WHERE, AGVMSettings

KEYS = [field.name for field in fields(AGVMSettings)]

# True is 1 to Python, and no number in a config.
NUMBERS = st.booleans() | st.integers(-1, 2) | st.just(10**400)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.fractions(-2, 2),
    st.complex_numbers(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.sampled_from(
        [np.float32(0.9), np.int64(7), np.bool_(True), torch.tensor(0.9), torch.Tensor]
    ),
)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.text(max_size=3), st.integers()), inner, max_size=2),
    ),
    max_leaves=4,
)
PLAUSIBLE = {
    'anchor': st.text(max_size=5),
    'modules': st.dictionaries(
        st.text(max_size=3), st.lists(st.text(max_size=3), max_size=2), max_size=2
    ),
    'estimator': st.sampled_from(['all_pairs', 'half_split', 'All_pairs']),
    'average': st.sampled_from([None, 'moments', 'scale', 'moment']),
    'interval': st.integers(0, 100),
    'begin': st.integers(-1, 100),
    'end': st.one_of(st.none(), st.integers(0, 200)),
    'momentum': NUMBERS | st.floats(-0.1, 1.1),
    'clamp': st.tuples(NUMBERS | st.floats(-0.5, 3.0), st.floats(0.0, 20.0))
    | st.lists(st.floats(0.1, 10.0), max_size=3).map(sorted),
    'eps': NUMBERS | st.floats(-1e-6, 1e-3),
    'precondition': st.sampled_from([True, False, 'kfac', 'k_fac']),
    'apply': st.booleans(),
}
LIKELY = st.one_of(st.just({}), st.fixed_dictionaries({}, optional=PLAUSIBLE))
WILD = st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=8)), JUNK, max_size=2)


def _require_usable(found: AGVMSettings, given_values: dict[str, Any]) -> None:
    """The given values are kept, and a modulator can use them."""
    for key, value in given_values.items():
        assert getattr(found, key) is value
        switch = key == 'apply' or (key == 'precondition' and value != 'kfac')
        assert isinstance(value, bool) is switch
    low, high = found.clamp
    assert not isinstance(low, bool) and not isinstance(high, bool)
    numbers = [float(n) for n in (found.momentum, found.eps, low, high)]
    assert all(math.isfinite(number) for number in numbers)
    assert 0 <= numbers[0] < 1 and numbers[1] > 0 and 0 < numbers[2] <= numbers[3]
    assert found.averaging in ('moments', 'scale')
    first = -(-found.begin // found.interval) * found.interval
    assert found.estimates_at(first) is (found.end is None or first < found.end)
    assert not found.estimates_at(found.begin - 1)


def _require_sentence(message: str, values: dict[str, Any]) -> None:
    assert message.endswith('.') and '\n' not in message, message
    unknown = [key for key in values if key not in KEYS]
    if unknown:
        allowed = ', '.join(KEYS)
        assert message == f'{WHERE} has the unknown key {unknown[0]!r}; known are {allowed}.'
        return
    match = re.match(rf'{re.escape(WHERE)}\.(\w+) is ', message)
    assert match is not None and match[1] in values, message
    assert message.startswith(f'{match[0]}{values[match[1]]!r}; allowed is '), message


def test_any_dict_is_settings_or_one_sentence():
    outcomes: Counter[str] = Counter()

    @settings(max_examples=1000)
    @given(likely=LIKELY, wild=st.one_of(st.just({}), WILD))
    def check(likely: dict[str, Any], wild: dict[str, Any]) -> None:
        values = {**likely, **wild}
        try:
            found = AGVMSettings.from_dict(values)
        except ValueError as error:
            outcomes['refused'] += 1
            _require_sentence(str(error), values)
        else:
            outcomes['valid'] += 1
            _require_usable(found, values)

    check()
    assert outcomes['valid'] > 50 and outcomes['refused'] > 300, outcomes


@settings(max_examples=200)
@given(values=JUNK.filter(lambda value: not isinstance(value, dict)))
def test_anything_but_a_dict_is_one_sentence(values):
    try:
        AGVMSettings.from_dict(values)
    except ValueError as error:
        assert str(error) == f'{WHERE} is {values!r}; allowed is a dict, or None to switch it off.'
    else:
        raise AssertionError(f'{values!r} was taken')
