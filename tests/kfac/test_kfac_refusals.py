"""Set-ups and values that K-FAC refuses, in one sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from compiler import needs_harmless_compiler
from kfac_nets import MixedNet, kfac_of, mixed_batch
from torch import nn

from agvm_mm import AGVMOptimWrapper


class TestRefusals:
    def wrapper(self, network: nn.Module, **kfac: Any) -> AGVMOptimWrapper:
        parameters = list(network.parameters())
        return AGVMOptimWrapper(torch.optim.SGD(parameters, lr=0.1), agvm=None, kfac=kfac)

    @needs_harmless_compiler
    def test_a_compiled_model(self) -> None:
        network = MixedNet()
        with pytest.raises(ValueError, match='skips the hooks with which K-FAC measures layers'):
            self.wrapper(network).initialize_count_status(
                torch.compile(network, backend='eager'), 0, 1
            )

    def test_a_prefix_that_matches_nothing(self) -> None:
        with pytest.raises(ValueError, match="exclude holds 'bakbone'"):
            kfac_of(MixedNet(), exclude=['bakbone'])

    def test_a_model_that_does_not_show_its_images(self) -> None:
        network = nn.Linear(2, 2)
        wrapper = self.wrapper(network)
        with wrapper.optim_context(network):
            loss = network(torch.ones(2)).sum()
        with pytest.raises(RuntimeError, match='K-FAC needs the number of images of a batch'):
            wrapper.update_params(loss)

    def test_nothing_to_precondition(self) -> None:
        with pytest.raises(ValueError, match='no trainable layer'):
            kfac_of(nn.Embedding(3, 2))

    def test_a_parameter_outside_of_the_optimizer(self) -> None:
        network = MixedNet()
        optimizer = torch.optim.SGD(network.head.parameters(), lr=0.1)
        wrapper = AGVMOptimWrapper(optimizer, agvm=None, kfac={})
        with pytest.raises(ValueError, match='K-FAC needs one optimizer'):
            wrapper.initialize_count_status(network, 0, 1)

    def test_a_loop_without_the_model(self) -> None:
        network = MixedNet()
        wrapper = self.wrapper(network)
        loss = network(**mixed_batch(0, range(2), torch.float32))['loss']
        with pytest.raises(RuntimeError, match='has not seen the model'):
            wrapper.update_params(loss)

    @pytest.mark.parametrize(
        ('key', 'value'),
        [('damping', 0), ('momentum', 1), ('solver', 'lu'), ('inverse_interval', 15),
         ('precision', 'float16'), ('max_size', 0), ('exclude', 'head'), ('half', 1),
         ('max_block', 0), ('send', 'factors'),
         ('kl_clip', -1), ('stale_threshold', 0), ('statistics_interval', True)],
    )  # fmt: skip
    def test_a_wrong_value(self, key: str, value: Any) -> None:
        with pytest.raises(ValueError, match=rf'^optim_wrapper\.kfac\.{key} is {value!r}; allowed'):
            self.wrapper(MixedNet(), **{key: value})

    def test_an_unknown_key(self) -> None:
        with pytest.raises(ValueError, match="unknown key 'dampening'"):
            self.wrapper(MixedNet(), dampening=1)
