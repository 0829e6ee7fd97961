"""Proxies as an estimator: scores of a space's networks, an objective of their own, never an accuracy."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from cosearch import search
from cosearch.accuracy import AccuracyEstimator, make_estimator
from cosearch.accuracy.zero_cost import make
from cosearch.errors import CosearchError, SearchError, UnknownNameError
from cosearch.evaluate import MappingOptions
from cosearch.spaces import load_space
from cosearch.zero_cost import PROXIES, score

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

SPACE = load_space("digits")


def some(count: int, seed: int = 0) -> np.ndarray:
    return SPACE.sample_genomes(np.random.default_rng(seed), count)


@pytest.mark.parametrize("proxy", PROXIES)
def test_it_gives_each_network_its_score_alone_and_in_a_batch(proxy) -> None:
    estimator = make_estimator(f"zero-cost:{proxy}", SPACE)
    assert isinstance(estimator, AccuracyEstimator)
    assert (estimator.quantity, estimator.scale) == ("proxy_score", PROXIES[proxy].title)
    genomes = some(2)
    found = estimator.estimate(SPACE.numbers(genomes))
    assert found.value.tolist() == [score(proxy, SPACE.network(genome)) for genome in genomes]
    assert np.isnan(found.error_points).all()
    assert not found.extrapolated.any()
    alone = make(SPACE, proxy).estimate(SPACE.numbers(genomes[1:]))
    assert alone.value.tolist() == found.value[1:].tolist()


def test_a_network_is_scored_once_and_what_is_handed_out_may_be_changed(monkeypatch) -> None:
    estimator = make(SPACE, "synflow")
    values = SPACE.numbers(some(1))
    first = estimator.estimate(np.concatenate([values, values]))
    monkeypatch.setattr("cosearch.accuracy.zero_cost._scored", lambda *_: pytest.fail("scored again"))
    expected = float(first.value[0])
    first.value[:] = 0
    assert estimator.estimate(values).value.tolist() == [expected]
    assert first.value.shape == (2,)


def test_genes_that_do_not_count_change_nothing() -> None:
    genome = SPACE.genome({"depth_1": 1})
    place = [knob.name for knob in SPACE.knobs].index("kernel_3")
    assert not SPACE.active(genome[None])[0, place]
    other = genome.copy()
    other[place] = 1
    values = make(SPACE, "naswot").estimate(SPACE.numbers(np.stack([genome, other]))).value
    assert values[0] == values[1]


def test_images_of_a_data_set_make_another_score() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    values = SPACE.numbers(some(1))
    random, digits = make(SPACE, "naswot"), make(SPACE, "naswot:digits")
    assert digits.note == "fresh weights, 32 images of digits"
    assert random.note == "fresh weights, 32 random images"
    assert random.estimate(values).value != digits.estimate(values).value


def test_it_travels_as_what_it_was_made_of() -> None:
    values = SPACE.numbers(some(1))
    estimator = make(SPACE, "snip")
    assert pickle.loads(pickle.dumps(estimator)).estimate(values).value == estimator.estimate(values).value


@pytest.mark.parametrize(
    ("argument", "error", "message"),
    [
        (
            "",
            CosearchError,
            "^estimator 'zero-cost' needs a proxy, as in zero-cost:synflow; there are fisher, grad-norm, ",
        ),
        ("naswott", UnknownNameError, "^unknown proxy 'naswott': did you mean 'naswot'"),
        ("naswot:/no/such/folder", CosearchError, "^no data '/no/such/folder': neither 'digits' nor a folder"),
        ("params:digits", CosearchError, "^estimator 'zero-cost': params looks at no images, so 'digits' has no use"),
    ],
)
def test_mistakes(argument, error, message) -> None:
    with pytest.raises(error, match=message):
        make(SPACE, argument)


def test_values_of_no_network_are_refused() -> None:
    with pytest.raises(CosearchError, match="row 0: resolution = 99 is not one of"):
        make(SPACE, "params").estimate(np.full((1, len(SPACE.knobs)), 99))
    assert len(make(SPACE, "params").estimate(np.zeros((0, len(SPACE.knobs)), dtype=int)).value) == 0


def test_without_torch_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(CosearchError, match=r"needs torch: pip install 'cosearch\[torch\]'"):
        make(SPACE, "synflow")
    assert make(SPACE, "macs").estimate(SPACE.numbers(some(1))).value > 0


def test_a_search_ranks_by_the_proxy(tiny) -> None:
    study = search(
        "nas-bench-201", tiny, ["proxy", "latency"], strategy="random", estimator="zero-cost:synflow", budget=6, population=3,
        mapping=MappingOptions(effort=2),
    )  # fmt: skip
    space = load_space("nas-bench-201")
    pairs = study.archive.pairs()
    assert len(pairs) == 6
    for pair in pairs:
        network = space.network(np.array(pair.genome[: len(space.knobs)]))
        assert pair.metrics["proxy_score"] == score("synflow", network)
        assert np.isnan(pair.metrics["top1_percent"])
    front = [pair.metrics["proxy_score"] for pair in study.front_pairs()]
    assert front[0] == max(front) == max(pair.metrics["proxy_score"] for pair in pairs if not pair.reason)


def test_a_score_is_no_accuracy(tiny) -> None:
    with pytest.raises(SearchError, match="top1 cannot be an objective"):
        search("nas-bench-201", tiny, ["top1"], estimator="zero-cost:params", budget=2, population=2)
