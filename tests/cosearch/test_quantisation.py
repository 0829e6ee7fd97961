"""What 8 bits cost in accuracy: a constant from published pairs, with its spread, wherever a pair is computed in 8 bits."""

from __future__ import annotations

import numpy as np
import pytest

from accel_models.description import load_target, with_values
from cosearch.accuracy.quantisation import INT8, INT8_PAIRS, Drop, quantisation_drop
from cosearch.errors import SearchError
from cosearch.evaluate import MappingOptions
from cosearch.study import search


def test_the_drop_is_the_mean_of_the_published_pairs_and_its_error_their_mean_distance() -> None:
    drops = [full - quantised for full, quantised in INT8_PAIRS]
    assert len(drops) == 12
    assert min(drops) > 0, "a quantised network was better than its float original: a typo in the table"
    assert pytest.approx(np.mean(drops)) == INT8.points
    assert pytest.approx(np.mean(np.abs(drops - np.mean(drops)))) == INT8.error_points
    assert round(INT8.points, 2) == 0.86, "the README prints .86 points"


@pytest.mark.parametrize(("bits", "drop"), [(8, INT8), (15, INT8), (16, Drop(0.0, 0.0)), (32, Drop(0.0, 0.0))])
def test_by_bits(bits, drop) -> None:
    assert quantisation_drop(bits) == drop


@pytest.mark.parametrize("bits", [7, 4, 1])
def test_below_8_bits_nothing_is_made_up(bits) -> None:
    with pytest.raises(SearchError, match=f"nothing measured says what {bits}-bit arithmetic costs in top-1"):
        quantisation_drop(bits)


def test_a_search_takes_it_off_and_adds_its_error() -> None:
    """The same network on the same machine with 8 and 16 bit words: their difference is the drop."""
    wide = load_target("eyeriss")
    figures = {}
    for bits in (8, 16):
        narrower = {f"precision.{name}": bits for name in ("weights", "inputs", "outputs")}
        target = with_values(wide, narrower)
        study = search(
            "ofa-mobilenet-v3", target, ["top1"], strategy="random", budget=2, population=2, fix_hardware=True,
            mapping=MappingOptions(effort=2),
        )  # fmt: skip
        figures[bits] = [
            (pair.metrics["top1_percent"], pair.metrics["top1_error_points"]) for pair in study.archive.pairs()
        ]
    for narrow, full in zip(figures[8], figures[16], strict=True):
        assert full[0] - narrow[0] == pytest.approx(INT8.points)
        assert narrow[1] - full[1] == pytest.approx(INT8.error_points)


def test_the_narrower_of_weights_and_inputs_counts() -> None:
    target = with_values(load_target("eyeriss"), {"precision.weights": 8})
    mixed, plain = (
        search("ofa-mobilenet-v3", machine, ["top1"], strategy="random", budget=2, population=2, fix_hardware=True,
               mapping=MappingOptions(effort=2)).archive.pair(1).metrics["top1_percent"]
        for machine in (target, load_target("eyeriss"))
    )  # fmt: skip
    assert plain - mixed == pytest.approx(INT8.points)
