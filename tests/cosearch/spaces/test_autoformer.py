"""AutoFormer's spaces: published networks' sizes, counts by a slow twin, and its networks in torch."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosearch.errors import SpaceError
from cosearch.spaces.autoformer import AutoFormer

SPACES = {plan: AutoFormer(plan) for plan in ("tiny", "small", "base")}

# what AutoFormer's authors retrained (experiments/subnet/AutoFormer-S.yaml, -B.yaml): embedding, ratios, heads; and what
# table 3 of the paper prints for them: million parameters. AutoFormer-T's has ratios of 3.0, which its space has not.
RETRAINED = {
    "small": (384, (300, 350, 300, 350, 400, 400, 400, 400, 400, 400, 400, 350, 400),
              (6, 6, 5, 7, 5, 5, 5, 6, 6, 7, 7, 6, 7), 22.9),
    "base": (576, (350, 350, 400, 350, 400, 350, 350, 300, 400, 400, 300, 400, 300, 350),
             (9, 9, 9, 9, 9, 10, 9, 9, 10, 9, 10, 9, 9, 10), 53.7),
}  # fmt: skip
RELATIVE_POSITIONS = 2 * 2 * 30 * 64
"""Parameters a layer that this space leaves out: tables for keys and values, rows and columns, 30 distances of 64 numbers."""


def counts(values: dict[str, int]) -> tuple[int, int]:
    """MACs and parameters by plain arithmetic."""
    width, tokens = values["embedding"], 14 * 14 + 1
    macs, params = 14 * 14 * 768 * width, 768 * width + width + width + tokens * width
    for layer in range(1, values["depth"] + 1):
        inner, hidden = 64 * values[f"heads_{layer}"], width * values[f"mlp_ratio_{layer}"] // 100
        macs += tokens * (4 * width * inner + 2 * width * hidden) + 2 * tokens * tokens * inner
        params += 4 * width * inner + 3 * inner + width + 2 * width * hidden + hidden + width + 4 * width
    return macs + width * 1000, params + 2 * width + width * 1000 + 1000


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(list(SPACES)), st.integers(0, 2**32 - 1))
def test_counts_are_the_slow_twins(plan, seed):
    space = SPACES[plan]
    genome = space.sample_genomes(np.random.default_rng(seed), 1)[0]
    network = space.network(genome)
    assert (network.macs, network.params) == counts(space.values(genome))


@pytest.mark.parametrize("plan", RETRAINED)
def test_retrained_networks_have_their_published_parameters(plan):
    space = SPACES[plan]
    embedding, ratios, heads, published = RETRAINED[plan]
    values = {"embedding": embedding, "depth": len(ratios)}
    for layer, (ratio, count) in enumerate(zip(ratios, heads, strict=True), 1):
        values |= {f"mlp_ratio_{layer}": ratio, f"heads_{layer}": count}
    params = space.network(space.genome(values)).params
    assert (params + len(ratios) * RELATIVE_POSITIONS) / 1e6 == pytest.approx(published, abs=0.05)


@pytest.mark.parametrize(
    ("plan", "params_m", "macs_g"), [("tiny", 5.7, 1.3), ("small", 22.9, 5.1), ("base", 53.7, 11.0)]
)
def test_published_sizes_lie_inside_each_space(plan, params_m, macs_g):
    # table 3 of the paper: parameters and operations of AutoFormer-T, -S and -B
    space = SPACES[plan]
    small, large = (space.network(g) for g in (np.zeros(len(space.knobs), dtype=np.int64), space.choices_per_knob - 1))
    assert small.params < params_m * 1e6 < large.params
    assert small.macs < macs_g * 1e9 < large.macs


@pytest.mark.parametrize(("plan", "size"), [
    ("tiny", 3 * (4**12 + 4**13 + 4**14)),
    ("small", 3 * (9**12 + 9**13 + 9**14)),
    ("base", 3 * (6**14 + 6**15 + 6**16)),
])  # fmt: skip
def test_sizes_and_inactive_genes(plan, size):
    space = SPACES[plan]
    assert space.size == size
    genome = np.ones(len(space.knobs), dtype=np.int64)
    genome[1] = 0  # the least depth
    layers, least = space.knobs[1].choices[-1], space.knobs[1].choices[0]
    expected = [True, True] + 2 * ([True] * least + [False] * (layers - least))
    assert space.active(genome[None])[0].tolist() == expected
    assert space.network(genome) == space.network(space.canonical(genome[None])[0])


def test_it_travels_and_an_unknown_plan_is_refused():
    assert pickle.loads(pickle.dumps(SPACES["small"])).sample(seed=2) == SPACES["small"].sample(seed=2)
    with pytest.raises(SpaceError, match="unknown plan 'tinny': did you mean 'tiny'"):
        AutoFormer("tinny")


def test_its_networks_run_in_torch():
    torch = pytest.importorskip("torch")
    from cosearch.supernet.network_module import NetworkModule

    network = SPACES["tiny"].network(np.zeros(len(SPACES["tiny"].knobs), dtype=np.int64))
    module = NetworkModule(network).eval()
    with torch.no_grad():
        logits = module(torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (1, 1000) and logits.std() > 0
    assert sum(tensor.numel() for tensor in module.parameters()) == network.params
