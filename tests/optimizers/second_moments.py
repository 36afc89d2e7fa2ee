"""Published update rules in numpy: the weights after some gradients and the last diagonal D."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LR, EPS, DECAY = 0.05, 1e-3, 0.1
BETAS, ADAN_BETAS = (0.8, 0.9), (0.7, 0.75, 0.9)
ALPHA = 0.9  # of RMSprop

Result = tuple[np.ndarray, np.ndarray]


def adam(
    w: np.ndarray, gradients: Sequence[np.ndarray], decoupled: bool = False, largest: bool = False
) -> Result:
    """Kingma & Ba 2015, algorithm 1; ``decoupled``: AdamW; ``largest``: AMSGrad as torch has it."""
    m = v = top = np.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        if decoupled:
            w = w - LR * DECAY * w
        else:
            g = g + DECAY * w
        m = BETAS[0] * m + (1 - BETAS[0]) * g
        v = BETAS[1] * v + (1 - BETAS[1]) * g**2
        top = np.maximum(top, v)
        d = 1 / (np.sqrt((top if largest else v) / (1 - BETAS[1] ** t)) + EPS)
        w = w - LR * m / (1 - BETAS[0] ** t) * d
    return w, d


def nadam(w: np.ndarray, gradients: Sequence[np.ndarray]) -> Result:
    """Dozat 2016, algorithm 2, with the momentum schedule of psi = 0.004."""
    m = v = np.zeros_like(w)
    product = 1.0
    for t, g in enumerate(gradients, 1):
        g = g + DECAY * w
        now, later = (BETAS[0] * (1 - 0.5 * 0.96 ** (0.004 * step)) for step in (t, t + 1))
        product *= now
        m = BETAS[0] * m + (1 - BETAS[0]) * g
        v = BETAS[1] * v + (1 - BETAS[1]) * g**2
        d = 1 / (np.sqrt(v / (1 - BETAS[1] ** t)) + EPS)
        w = w - LR * d * (later * m / (1 - product * later) + (1 - now) * g / (1 - product))
    return w, d


def rmsprop(w: np.ndarray, gradients: Sequence[np.ndarray], centered: bool = False) -> Result:
    """Hinton's lecture 6e; ``centered`` as in Graves 2013, equation 38."""
    v = mean = np.zeros_like(w)
    for g in gradients:
        g = g + DECAY * w
        v = ALPHA * v + (1 - ALPHA) * g**2
        mean = ALPHA * mean + (1 - ALPHA) * g
        d = 1 / (np.sqrt(v - mean**2 if centered else v) + EPS)
        w = w - LR * g * d
    return w, d


def adagrad(w: np.ndarray, gradients: Sequence[np.ndarray]) -> Result:
    """Duchi et al. 2011, diagonal form."""
    total = np.zeros_like(w)
    for g in gradients:
        g = g + DECAY * w
        total = total + g**2
        d = 1 / (np.sqrt(total) + EPS)
        w = w - LR * g * d
    return w, d


def adan(w: np.ndarray, gradients: Sequence[np.ndarray]) -> Result:
    """Xie et al. 2024, algorithm 1; the decay rates are 1 minus the paper's."""
    b1, b2, b3 = ADAN_BETAS
    m = v = n = np.zeros_like(w)
    before = gradients[0]
    for t, g in enumerate(gradients, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * (g - before)
        n = b3 * n + (1 - b3) * (g + b2 * (g - before)) ** 2
        d = 1 / (np.sqrt(n / (1 - b3**t)) + EPS)
        w = (w - LR * d * (m / (1 - b1**t) + b2 * v / (1 - b2**t))) / (1 + LR * DECAY)
        before = g
    return w, d


def lamb(w: np.ndarray, gradients: Sequence[np.ndarray]) -> Result:
    """You et al. 2020, algorithm 2 with the identity as scaling function."""
    m = v = np.zeros_like(w)
    for t, g in enumerate(gradients, 1):
        m = BETAS[0] * m + (1 - BETAS[0]) * g
        v = BETAS[1] * v + (1 - BETAS[1]) * g**2
        d = 1 / (np.sqrt(v / (1 - BETAS[1] ** t)) + EPS)
        direction = m / (1 - BETAS[0] ** t) * d + DECAY * w
        w = w - LR * np.linalg.norm(w) / np.linalg.norm(direction) * direction
    return w, d
