"""SOAP from pytorch_optimizer, which is only needed to build it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.optim import Optimizer

from ..compat import register_optimizer
from .library import import_library


def build_soap(
    params: Any,
    lr: float = 3e-3,
    betas: Sequence[float] = (0.95, 0.95),
    shampoo_beta: float | None = None,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    precondition_frequency: int = 10,
    max_precondition_dim: int = 10000,
    merge_dims: bool = False,
) -> Optimizer:
    """Builds SOAP: Adam in the eigenbasis of Shampoo's preconditioner.

    ``L <- b L + (1 - b) G G^T``, ``R`` likewise of ``G^T G``; with their eigenvectors ``Q_L``,
    ``Q_R`` Adam steps along ``G' = Q_L^T G Q_R`` and the step is turned back. The first step only
    fills the preconditioner. The step counter belongs to the parameter group.

    Args:
        params: Parameters, or dicts of them with options of their own.
        lr: Learning rate.
        betas: Decay rates of Adam's two averages.
        shampoo_beta: Decay rate ``b``; None for the second of ``betas``.
        eps: Added to the root of the second moment.
        weight_decay: Decoupled decay.
        precondition_frequency: Steps between two updates of the eigenvectors.
        max_precondition_dim: A longer dimension is not turned.
        merge_dims: Whether small dimensions of a convolution are one.

    Raises:
        ImportError: If pytorch_optimizer is not installed.

    References:
        Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam", ICLR 2025,
        arXiv:2409.11321.
    """
    library = import_library('SOAPOptimizer')
    optimizer: Optimizer = library.SOAP(
        params,
        lr=lr,
        betas=tuple(betas),
        shampoo_beta=shampoo_beta,
        eps=eps,
        weight_decay=weight_decay,
        precondition_frequency=precondition_frequency,
        max_precondition_dim=max_precondition_dim,
        merge_dims=merge_dims,
    )
    return optimizer


register_optimizer(build_soap, 'SOAPOptimizer')
