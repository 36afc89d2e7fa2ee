r"""The interval in the log is that of the estimates that were made.

With :math:`n_t` and :math:`d_t` the parts of the normalised variance of estimate t, both divided by
the denominator of the estimate before, and :math:`w_t = (1 - m) m^{T - t}` their weights:

.. math::
   \mathrm{se}^2 = \frac{k}{k - 1} \sum_t w_t^2 (n_t - \varphi d_t)^2 / (\sum_t w_t d_t)^2, \qquad
   \varphi_\pm = \varphi\, e^{\pm t_{k - 1}\, \mathrm{se} / \varphi}
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from networks import ReplayNet

import agvm_mm  # noqa: F401
from agvm_runs.quantiles import student_quantile

SIZES = dict(backbone=40, neck=10)
MOMENTUM, SAMPLES = 0.8, 4


def _gradients(updates: int) -> np.ndarray:
    """Sample gradients, (updates, samples, numbers)."""
    rng = np.random.default_rng(0)
    return 1 + rng.normal(size=(updates, SAMPLES, sum(SIZES.values())))


def _logged(gradients: np.ndarray) -> dict[str, float]:
    """What the log holds of the intervals after the last update."""
    model = ReplayNet(SIZES, torch.zeros(sum(SIZES.values()), dtype=torch.float64))
    config = dict(
        type='AGVMOptimWrapper',
        optimizer=dict(type='SGD', lr=0.1),
        accumulative_counts=SAMPLES,
        agvm=dict(interval=1, momentum=MOMENTUM),
    )
    wrapper = build_optim_wrapper(model, config)
    wrapper.initialize_count_status(model, 0, gradients.shape[0] * SAMPLES)
    for gradient in torch.from_numpy(gradients).flatten(0, 1):
        model.train_step(dict(inputs=[gradient]), wrapper)
    scalars = wrapper.message_hub.log_scalars
    key = 'train/agvm/phi_'
    return {name[len(key) :]: scalars[name].current() for name in scalars if name.startswith(key)}


def _ends(gradients: np.ndarray) -> list[float]:
    """The equations at the top for one module."""
    mean_square = np.square(gradients).sum(2).mean(1)  # A and B of docs/contributing/design.md
    square_mean = np.square(gradients.mean(1)).sum(1)
    numerator = 2 * (mean_square - square_mean)
    denominator = (SAMPLES - 2) * square_mean + mean_square
    before = np.concatenate([denominator[:1], denominator[:-1]])
    assert (denominator < 4 * before).all()  # a sudden growth would weigh less
    n, d = numerator / before, denominator / before
    weights = (1 - MOMENTUM) * MOMENTUM ** np.arange(len(n))[::-1]
    count = weights.sum() ** 2 / np.square(weights).sum()
    phi = (weights @ n) / (weights @ d)
    spread = np.square(weights * (n - phi * d)).sum() * count / (count - 1)
    reach = student_quantile(count) * np.sqrt(spread) / (weights @ d) / phi
    return [float(phi * np.exp(sign * reach)) for sign in (-1, 1)]


@pytest.mark.parametrize('updates', [2, 7])
def test_the_logged_interval_is_that_of_the_estimates(updates: int) -> None:
    gradients = _gradients(updates)
    found = _logged(gradients)
    for name, part in (('backbone', gradients[..., :40]), ('neck', gradients[..., 40:])):
        ends = [found.pop(f'{end}/{name}') for end in ('low', 'high')]
        assert ends == pytest.approx(_ends(part), rel=1e-9)
    assert found == {}


def test_one_estimate_has_no_interval() -> None:
    assert _logged(_gradients(1)) == {}
