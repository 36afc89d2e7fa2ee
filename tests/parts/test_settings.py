"""Every wrong value of ``agvm`` and ``clip_grad`` is one sentence that names it."""

from __future__ import annotations

import pytest

from agvm_mm.parts.clip_window import split_window
from agvm_runs.settings import AGVMSettings


@pytest.mark.parametrize(
    ('values', 'sentence'),
    [
        (
            dict(interval=-5),
            r'agvm\.interval is -5; allowed is a whole number of updates, at least 1',
        ),
        (dict(interval='by_batch'), r"interval is 'by_batch'; .* 'by_batch' with agvm_mm's launch"),
        (dict(begin='after_warmup'), r"begin is 'after_warmup'; .* 'after_warmup' with agvm_mm's"),
        (dict(interval=0), r'agvm\.interval is 0'),
        (dict(interval=2.5), r'agvm\.interval is 2\.5'),
        (dict(interval=True), r'agvm\.interval is True'),
        (dict(begin=-1), r'agvm\.begin is -1; allowed .* at least 0'),
        (dict(begin=10, end=10), r'agvm\.end is 10; allowed .* above begin \(10\)'),
        (dict(momentum=1.0), r'agvm\.momentum is 1\.0; allowed is a number in \[0, 1\)'),
        (dict(momentum=float('nan')), r'agvm\.momentum is nan'),
        (dict(clamp=(10.0, 0.5)), r'agvm\.clamp is \(10\.0, 0\.5\); allowed .* smaller first'),
        (dict(clamp=(0.0, 1.0)), r'agvm\.clamp is \(0\.0, 1\.0\)'),
        (dict(clamp=3), r'agvm\.clamp is 3'),
        (dict(eps=0), r'agvm\.eps is 0; allowed is a positive number'),
        (
            dict(estimator='cosine'),
            r"agvm\.estimator is 'cosine'; allowed is 'all_pairs' or 'half_split'",
        ),
        (
            dict(average='ratio'),
            r"agvm\.average is 'ratio'; allowed is None or 'moments' or 'scale'",
        ),
        (dict(anchor=None), r'agvm\.anchor is None'),
        (
            dict(modules=['backbone']),
            r"agvm\.modules is \['backbone'\]; allowed is None, 'default' or 'children', or a dict",
        ),
        (dict(modules=dict(backbone='backbone')), r'agvm\.modules is .* list of parameter-name'),
        (dict(precondition=1), r'agvm\.precondition is 1; allowed is True or False, or'),
        (dict(apply='yes'), r"agvm\.apply is 'yes'"),
        (dict(alpha=0.9), r"unknown key 'alpha'; known are anchor, modules, estimator"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else '',
)
def test_wrong_values_are_named(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        AGVMSettings.from_dict(values)


def test_something_else_than_a_dict_is_refused():
    with pytest.raises(ValueError, match='agvm is True; allowed is a dict, or None'):
        AGVMSettings.from_dict(True)


def test_average_follows_the_estimator():
    assert AGVMSettings().averaging == 'moments'
    assert AGVMSettings(estimator='half_split').averaging == 'scale'
    assert AGVMSettings(estimator='half_split', average='moments').averaging == 'moments'


def test_estimation_steps():
    settings = AGVMSettings(interval=10, begin=25, end=60)
    assert [u for u in range(100) if settings.estimates_at(u)] == [30, 40, 50]
    assert not settings.applies_at(24)
    assert settings.applies_at(25) and settings.applies_at(99)
    assert not AGVMSettings(apply=False).applies_at(50)


def test_clip_window_is_cut_off_and_the_config_left_alone():
    config = dict(max_norm=1.0, norm_type=2, begin=360, end=561)
    rest, window = split_window(config)
    assert rest == dict(max_norm=1.0, norm_type=2) and len(config) == 4
    assert [u for u in (0, 359, 360, 560, 561) if u in window] == [360, 560]
    assert 10**9 in split_window(dict(max_norm=1.0))[1]


@pytest.mark.parametrize(
    ('window', 'sentence'),
    [(dict(begin=-1), r'clip_grad\.begin is -1'), (dict(begin=5, end=5), r'clip_grad\.end is 5')],
)
def test_a_wrong_clip_window_is_named(window, sentence):
    with pytest.raises(ValueError, match=sentence):
        split_window(dict(max_norm=1.0, **window))
