"""What 8 and 4 bits cost in accuracy: constants from published pairs, with their spread, wherever a pair is computed in 8 bits."""

from __future__ import annotations

import numpy as np
import pytest

from accel_models.description import load_target, with_values
from cosearch.accuracy.quantisation import INT4, INT4_PAIRS, INT8, INT8_PAIRS, Drop, quantisation_drop
from cosearch.errors import SearchError
from cosearch.evaluate import MappingOptions
from cosearch.study import search


@pytest.mark.parametrize(("pairs", "count", "drop"), [(INT8_PAIRS, 12, INT8), (INT4_PAIRS, 8, INT4)])
def test_a_drop_is_the_mean_of_the_published_pairs_and_its_error_their_mean_distance(pairs, count, drop) -> None:
    drops = [full - quantised for full, quantised in pairs]
    assert len(drops) == count
    assert min(drops) > 0, "a quantised network was better than its float original: a typo in the table"
    assert pytest.approx(np.mean(drops)) == drop.points
    assert pytest.approx(np.mean(np.abs(drops - np.mean(drops)))) == drop.error_points


def test_the_drops_that_are_printed_elsewhere() -> None:
    assert round(INT8.points, 2) == 0.86, "the README prints .86 points"
    assert (round(INT4.points, 2), round(INT4.error_points, 2)) == (2.7, 0.8)


@pytest.mark.parametrize(
    ("bits", "drop"), [(4, INT4), (7, INT4), (8, INT8), (15, INT8), (16, Drop(0.0, 0.0)), (32, Drop(0.0, 0.0))]
)
def test_by_bits(bits, drop) -> None:
    assert quantisation_drop(bits) == drop


@pytest.mark.parametrize("bits", [3, 1])
def test_below_4_bits_nothing_is_made_up(bits) -> None:
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
