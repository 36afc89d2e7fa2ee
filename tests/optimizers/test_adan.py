"""Adan against numbers recorded from the authors' own code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from optimizer_case import GRADIENTS, P1, build, close, parameters, set_gradients, train
from torch import nn

from agvm_mm.optim import AGVMOptimWrapper
from agvm_mm.optim.precondition import second_moment_of
from agvm_mm.optimizers.adan import restart_adan

A3 = (
    [0.9254468358269207, -2.03884495196737, 0.36292673148344556],
    [[-0.0900819488023281, 0.000822454367977256], [0.03606538239735116, 0.27479755333535016]],
)

library = pytest.importorskip('pytorch_optimizer', reason='Adan comes from it')


class TestAdan:
    def test_a1_proximal_decay(self) -> None:
        params = parameters()
        optimizer = build('Adan', params, lr=0.1, weight_decay=0.02)
        train(optimizer, params, range(1))
        close(params[0], [0.8982036027944101, -1.8962075881570193, 0.39920160179640696])
        train(optimizer, params, range(1, 4))
        close(params[0], [0.9401421318380639, -2.0247793702961245, 0.3489999171500686])
        close(
            params[1],
            [[-0.11379267461164969, 0.030240713811000564], [0.03986211470437911, 0.23854923333992]],
        )

    def test_a2_no_prox_decays_as_adamw(self) -> None:
        params = parameters()
        train(build('Adan', params, lr=0.1, weight_decay=0.02, no_prox=True), params)
        close(params[0], [0.9400231265822104, -2.0248297963634325, 0.3486993020139921])
        close(
            params[1],
            [
                [-0.11421828413138961, 0.030699123841675665],
                [0.03934404407768096, 0.23822825734836053],
            ],
        )

    def test_a3_with_the_norm_clipped(self) -> None:
        """The authors' Adan clips by itself, by max_norm / (norm + 1e-8), with a float32 norm."""
        params = parameters()
        optimizer = build('Adan', params, lr=0.1, weight_decay=0.02)
        for step in range(4):
            set_gradients(params, step)
            norm = torch.cat([p.grad.flatten() for p in params]).norm()
            for p in params:
                p.grad *= torch.clamp(0.5 / (norm + 1e-8), max=1.0)
            optimizer.step()
        close(params[0], A3[0], 1e-8)
        close(params[1], A3[1], 1e-8)

    def test_a3_with_the_wrapper_that_clips(self) -> None:
        """torch adds 1e-6 to the norm where the authors add 1e-8."""
        params = parameters()
        optimizer = build('Adan', params, lr=0.1, weight_decay=0.02)
        wrapper = AGVMOptimWrapper(optimizer, agvm=None, clip_grad=dict(max_norm=0.5))
        for step in range(4):
            set_gradients(params, step)
            wrapper.step()
        close(params[0], A3[0], 1e-6)
        close(params[1], A3[1], 1e-6)

    def test_a4_restart(self) -> None:
        params = parameters()
        optimizer = build('Adan', params, lr=0.1)
        train(optimizer, params, range(2))
        restart_adan(optimizer)
        train(optimizer, params, range(2, 4))
        close(params[0], [0.8843315318014631, -2.1185444971770426, 0.4047051380670571])
        close(
            params[1],
            [
                [-0.026433773733459235, -0.20020487458028335],
                [0.059827269592402185, 0.3905308323583441],
            ],
        )

    def test_a5_late_parameter_shares_the_counter_of_its_group(self) -> None:
        late = nn.Parameter(torch.ones(2, dtype=torch.float64))
        other = nn.Parameter(torch.ones(2, dtype=torch.float64))
        optimizer = build('Adan', [late, other], lr=0.1)
        for gradient in (None, None, [0.1, 0.2]):
            late.grad = None if gradient is None else torch.tensor(gradient, dtype=torch.float64)
            other.grad = torch.ones_like(other)
            optimizer.step()
        close(late, [0.9413890113709051, 0.9413890063204031])

    def test_a6_equals_the_librarys_other_path_bit_for_bit(self) -> None:
        ours, theirs = parameters(), parameters()
        train(build('Adan', ours, lr=0.1, weight_decay=0.02), ours)
        single = library.Adan(theirs, lr=0.1, weight_decay=0.02, foreach=False)
        for step in range(4):
            set_gradients(theirs, step)
            single.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs))

    def test_a6_float32_is_near_float64(self) -> None:
        exact, rounded = parameters(), parameters(torch.float32)
        for params in (exact, rounded):
            train(build('Adan', params, lr=0.1, weight_decay=0.02), params)
        for a, b in zip(exact, rounded):
            close(b, a.detach().numpy(), 5e-7)

    def test_a6_without_decay_the_form_of_decay_is_irrelevant(self) -> None:
        first, second = parameters(), parameters()
        train(build('Adan', first, lr=0.1), first)
        train(build('Adan', second, lr=0.1, no_prox=True), second)
        assert all(torch.equal(a, b) for a, b in zip(first, second))

    def test_a6_first_step_is_the_sign_of_the_gradient(self) -> None:
        params = parameters()
        train(build('Adan', params, lr=0.1), params, range(1))
        gradient = np.array(GRADIENTS[0][0])
        expected = np.array(P1) - 0.1 * gradient / (np.abs(gradient) + 1e-8)
        close(params[0], expected, 1e-15)

    def test_a7_no_missing_bias_correction(self) -> None:
        """The authors' float32 CUDA kernel leaves it out: a first step ten times too long."""
        params = [nn.Parameter(torch.ones(4, dtype=torch.float64))]
        params[0].grad = torch.tensor([0.1, -0.3, 0.2, 0.4], dtype=torch.float64)
        build('Adan', params, lr=0.1).step()
        close(params[0], [0.9, 1.1, 0.9, 0.9], 1e-7)
        wrong = torch.tensor([1e-6, 2.0, 5e-7, 2.5e-7], dtype=torch.float64)
        assert (params[0] - wrong).abs().min() > 0.5

    def test_clipping_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r'^max_grad_norm=5.0 of Adan.* must be 0;.*clip_grad'):
            build('Adan', parameters(), max_grad_norm=5.0)

    def test_second_moment_is_the_third_beta(self) -> None:
        assert second_moment_of(build('Adan', parameters())).beta == 2
