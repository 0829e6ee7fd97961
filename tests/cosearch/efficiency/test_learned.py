"""Fitted models: they find laws that they can express, their errors are those of held-back rows, files come back as they were."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from cosearch.efficiency import make_efficiency, regression
from cosearch.efficiency.features import SpaceFeatures
from cosearch.efficiency.fit import fit, read_measurements
from cosearch.efficiency.learned import LearnedEstimator, LearnedModel
from cosearch.efficiency.regression import Form
from cosearch.errors import CosearchError
from cosearch.spaces import load_space


def law(space, genomes: np.ndarray) -> np.ndarray:
    """A latency in s that is a sum over what counts: 1 ms, and (knob number + choice number) times 0.01 ms each."""
    terms = (np.arange(genomes.shape[1]) + genomes) * space.active(genomes)
    return 1e-3 + 1e-5 * terms.sum(axis=1)


def draw(space, count: int, seed: int = 0) -> np.ndarray:
    return space.sample_genomes(np.random.default_rng(seed), count)


@pytest.mark.parametrize("name", ["nas-bench-201", "fbnet-cifar100", "digits"])
def test_an_additive_law_is_found_and_held_up_on_other_networks(name) -> None:
    space = load_space(name)
    genomes = draw(space, 400)
    made = fit(space, genomes, law(space, genomes))
    assert made.model.errors.held_back < 1e-4 < made.model.errors.constant
    assert not made.model.counts, "MACs are counted only where that helps"
    others = draw(space, 50, seed=1)
    found = LearnedEstimator(space, made.model, "learned").estimate(space.numbers(others))
    assert found.latency_s == pytest.approx(law(space, others), rel=1e-3)
    assert found.error_s[~found.extrapolated] == pytest.approx(
        made.model.errors.held_back * found.latency_s[~found.extrapolated]
    )


def test_macs_are_counted_where_they_tell() -> None:
    space = load_space("ofa-mobilenet-v3")
    genomes = draw(space, 200)
    macs, params = SpaceFeatures(space, counts=True).macs_and_params(genomes)
    networks = [space.network(genome) for genome in genomes[:10]]
    assert macs[:10].tolist() == [network.macs for network in networks]
    assert params[:10].tolist() == [network.params for network in networks]
    made = fit(space, genomes, macs * 1e-10)
    assert made.model.counts and made.model.errors.held_back < 1e-3 and made.macs_error < 1e-3


def test_held_back_estimates_do_not_see_their_rows() -> None:
    """Latencies that have nothing to do with the networks cannot be told, however often a network is measured."""
    space = load_space("nas-bench-201")
    genomes = np.repeat(draw(space, 60), 3, axis=0)
    _, group = np.unique(genomes, axis=0, return_inverse=True)
    latency = 1e-3 * np.exp(np.random.default_rng(0).normal(0, 0.5, group.max() + 1))[group.ravel()]
    made = fit(space, genomes, latency)
    assert made.model.errors.held_back > 0.8 * made.model.errors.constant > 0.2


def test_the_same_rows_give_the_same_file_and_it_is_read_as_it_was(tmp_path) -> None:
    space = load_space("nas-bench-201")
    genomes = draw(space, 100)
    for name in ("a.json", "b.json"):
        fit(space, genomes, law(space, genomes), device="a phone").model.write(tmp_path / name)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    estimator = make_efficiency(f"learned:{tmp_path / 'a.json'}", space)
    assert (estimator.device, estimator.space_name) == ("a phone", "nas-bench-201")
    values = space.numbers(draw(space, 30, seed=2))
    direct = LearnedEstimator(space, fit(space, genomes, law(space, genomes)).model, "x").estimate(values)
    found = estimator.estimate(values)
    assert np.array_equal(found.latency_s, direct.latency_s)
    assert np.array_equal(pickle.loads(pickle.dumps(estimator)).estimate(values).latency_s, found.latency_s)
    alone = [estimator.estimate(values[i : i + 1]).latency_s[0] for i in range(len(values))]
    assert np.array_equal(alone, found.latency_s)
    assert estimator.estimate(values[:0]).latency_s.shape == (0,)


def test_what_lies_outside_is_flagged_and_charged_more() -> None:
    space = load_space("nas-bench-201")
    genomes = draw(space, 300)
    genomes = genomes[(genomes != 4).all(axis=1)]  # no network with a pool
    noisy = law(space, genomes) * np.exp(np.random.default_rng(0).normal(0, 0.01, len(genomes)))
    model = fit(space, genomes, noisy).model
    inside = genomes[np.argsort(noisy)[len(noisy) // 2]]
    unseen = np.where(np.arange(6) == 2, 4, inside)
    found = LearnedEstimator(space, model, "learned").estimate(np.stack([inside, unseen]))
    assert found.extrapolated.tolist() == [False, True]
    assert found.error_s[1] / found.latency_s[1] == pytest.approx(max(model.errors.beyond, model.errors.held_back))
    slowest = genomes[np.argmax(law(space, genomes))]
    fast = noisy < np.median(noisy)
    low = fit(space, genomes[fast], noisy[fast]).model
    assert LearnedEstimator(space, low, "learned").estimate(slowest[None]).extrapolated[0]


def test_files_that_are_none_are_refused(tmp_path) -> None:
    space = load_space("nas-bench-201")
    genomes = draw(space, 60)
    path = tmp_path / "model.json"
    fit(space, genomes, law(space, genomes)).model.write(path)
    good = json.loads(path.read_text())
    with pytest.raises(CosearchError, match="fitted to networks of 'nas-bench-201', not of 'fbnet-cifar100'"):
        make_efficiency(f"learned:{path}", load_space("fbnet-cifar100"))
    changes = (
        ({"format": 7}, "format 7"), ({"regression": None}, "no fitted model"), ({"seen": [[0]]}, "another version"),
        ({"seen": [[9]] * 6}, "another version"), ({"errors": {"x": 1}}, "no fitted model"),
        ({"regression": {**good["regression"], "coefficients": [1.0]}}, "1 coefficients"),
    )  # fmt: skip
    for change, said in changes:
        path.write_text(json.dumps({**good, **change}))
        with pytest.raises(CosearchError, match=said):
            make_efficiency(f"learned:{path}", space)
    path.write_text("{")
    with pytest.raises(CosearchError, match="is not JSON"):
        LearnedModel.read(path)
    with pytest.raises(CosearchError, match="cannot be read"):
        LearnedModel.read(tmp_path / "absent.json")


def write_measurements(path: Path, space, genomes: np.ndarray, latency_s: np.ndarray) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*(knob.name for knob in space.knobs), "latency_ms"])
        for genome, latency in zip(genomes, latency_s, strict=True):
            values, active = space.values(genome), space.active_values(genome)
            writer.writerow([*(value if name in active else "" for name, value in values.items()), latency * 1e3])
    return path


def test_measurements_are_read_with_empty_cells_for_what_does_not_count(tmp_path) -> None:
    space = load_space("digits")
    genomes = draw(space, 30)
    path = write_measurements(tmp_path / "m.csv", space, genomes, law(space, genomes))
    found, latency_s = read_measurements(space, path)
    assert np.array_equal(found, genomes)
    assert latency_s == pytest.approx(law(space, genomes), rel=1e-12)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("latency_ms", "time", "no column latency_ms or latency_s"),
        ("edge_1_0", "edge", "no column for the knob 'edge_1_0'"),
        ("skip_connect", "skip_conect", "line .*choice of edge_.* 'skip_conect': did you mean 'skip_connect'"),
        (",1.0\n", ",fast\n", "line 2: a latency of 'fast'"),
        (",1.0\n", ",-1\n", "line 2: a latency of '-1'"),
        ("\nskip_connect,", "\n,", "row 1: edge_1_0 counts there, but has no value"),
    ],
)
def test_mistakes_in_measurements_are_named(tmp_path, old, new, said) -> None:
    space = load_space("nas-bench-201")
    path = tmp_path / "m.csv"
    header = ",".join([*(knob.name for knob in space.knobs), "latency_ms"])
    text = f"{header}\n" + ",".join(["skip_connect"] * 6) + ",1.0\n"
    path.write_text(text)
    assert len(read_measurements(space, path)[0]) == 1
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(CosearchError, match=said):
        read_measurements(space, path)


def test_too_few_rows_are_refused() -> None:
    space = load_space("nas-bench-201")
    genomes = draw(space, 10)
    with pytest.raises(CosearchError, match="at least 20"):
        fit(space, genomes, law(space, genomes))


def naive_terms(form: Form, row: np.ndarray) -> list[float]:
    """The slow twin of `Form.expand`."""
    products = [
        row[i] * row[j]
        for i in range(len(row))
        for j in range(i, len(row))
        if form.products == "all" or (form.products == "with scales" and i < form.scales)
    ]
    return [1.0, *row, *products]


@pytest.mark.parametrize("products", regression.PRODUCTS)
@pytest.mark.parametrize("scales", [0, 2])
def test_terms_are_as_stated(products, scales) -> None:
    form, rows = Form(scales, products, "absolute"), np.random.default_rng(0).normal(size=(3, 4))
    expanded = form.expand(rows)
    assert expanded.shape == (3, form.terms(4))
    assert np.array_equal(expanded, [naive_terms(form, row) for row in rows])


def test_products_are_found_where_they_are_needed() -> None:
    rows = np.random.default_rng(0).uniform(1, 2, size=(200, 3))
    latency = rows[:, 0] * rows[:, 1] + rows[:, 2]
    errors, _ = regression.errors_of(rows, latency)
    assert errors.held_back < 1e-3 < errors.constant
    assert regression.fit(rows, latency).form.products == "all"
    assert regression.fit(rows, latency, scales=1).form.products == "with scales"
