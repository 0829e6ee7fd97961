"""A network of every registered space runs, with the multiply-accumulates and parameters that the space says."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cosearch.spaces import load_space, space_names
from cosearch.supernet.network_module import NetworkModule


@pytest.mark.parametrize("name", space_names())
def test_a_sample_runs_at_the_cost_of_its_network(name) -> None:
    network = load_space(name).sample(seed=0)
    shape = network.input
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        module = NetworkModule(network).eval()
        tensors = module.tensors(torch.empty(1, shape.channels, shape.height, shape.width))
    assert counter.get_total_flops() // 2 == network.macs
    assert sum(parameter.numel() for parameter in module.parameters()) == network.params
    for node in network.nodes:
        assert tensors[node.name].shape[1:].numel() == node.output.elements, node.name
