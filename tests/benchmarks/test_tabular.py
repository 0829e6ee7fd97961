"""Tabular searches on a space of 81 networks: by look-up as in a study, what is met, and the table."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import cosearch
from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network
from benchmarks import tabular
from benchmarks.known_table import KnownTable, Met
from cosearch.accuracy.tabular import make
from cosearch.errors import SearchError
from cosearch.space import Genomes, Knob, NetworkSpace
from tests.cosearch.conftest import TARGET

OPERATIONS = ("nothing", "narrow", "wide")


class Chain(NetworkSpace):
    """Four layers, each nothing, a 1x1 or a 3x3 convolution; written as digits."""

    name, summary = "chain", "four layers"
    accuracy_column, training_columns, data_set_title = "accuracy", ("first", "second"), "a data set"
    size = 81

    def __init__(self) -> None:
        self.knobs = tuple(Knob(f"layer_{layer}", OPERATIONS) for layer in range(4))

    def parse(self, text: str) -> Genomes:
        return np.array([int(digit) for digit in text], dtype=np.int64)

    def network(self, genome: Genomes) -> Network:
        net = NetworkBuilder("chain", height=8)
        net.conv("stem", 8, 3)
        for layer, gene in enumerate(genome.tolist()):
            if gene:
                net.conv(f"layer{layer}", 8, 2 * gene - 1)
        net.global_pool("pool")
        net.linear("classifier", 10)
        return net.build()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("target") / "tiny.yaml"
    path.write_text(TARGET)
    return str(path)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Accuracies of all networks; 2122 is the best one, and not the largest."""
    path = tmp_path_factory.mktemp("table") / "chain.csv"
    draw = np.random.default_rng(0)
    lines = ["arch,accuracy,first,second"]
    for digits in itertools.product(range(3), repeat=4):
        accuracy = 90.0 if digits == (2, 1, 2, 2) else 50 + 4 * sum(digits) + draw.uniform(0, 2)
        lines.append(f"{''.join(map(str, digits))},{accuracy},{accuracy - 1},{accuracy + 1}")
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def known(file: Path, target: str) -> KnownTable:
    space = Chain()
    return KnownTable(space, make(space, str(file)), target)


def run(*arguments: str) -> Any:
    app = typer.Typer(add_completion=False)
    app.command()(tabular.main)
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize("strategy", ["nsga2", "random", "naas", "sequential"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_search_by_look_up_is_a_search(known: KnownTable, strategy: str, seed: int) -> None:
    met = known.search(strategy, ("top1", "latency"), seed, 8)
    study = cosearch.search(
        known.space, known.target, ("top1", "latency"), strategy=strategy, seed=seed, population=8, budget=81,
        fix_hardware=True, estimator=known.estimator,
    )  # fmt: skip
    pairs = study.archive.pairs()
    genomes = [pair.genome for pair in pairs]
    assert met.place == next(place for place, genome in enumerate(genomes, 1) if genome == (2, 1, 2, 2))
    recorded = np.array([[-pair.metrics["top1_percent"], 1e3 * pair.metrics["latency_s"]] for pair in pairs])
    np.testing.assert_allclose(known.values(np.array(genomes), ("top1", "latency")), recorded, rtol=1e-12)


def test_the_exact_strategy_is_asked_for_its_front(known: KnownTable) -> None:
    assert known.search("exact", ("top1",), 0, 8)[:2] == (1, 1)
    front = known.exact_front("macs")
    assert front.equal
    assert front.points > 2
    assert (front.best_percent, front.best_error_points) == (90, 1)
    assert "is the same; best 90.00 +- 1.00 %" in str(front)


def test_a_front_that_is_not_the_true_one_is_told(known: KnownTable, file: Path, target: str) -> None:
    other = KnownTable(known.space, make(known.space, str(file)), target)
    other.metrics["macs"][:] += 1.0
    front = other.exact_front("macs")
    assert not front.equal
    assert "ANOTHER" in str(front)


def test_a_strategy_that_cannot_take_one_objective_says_so(known: KnownTable) -> None:
    with pytest.raises(SearchError, match="it takes 2 to 5 objectives, not 1"):
        known.search("nsga3", ("top1",), 0, 8)


def test_a_joint_search_goes_on_with_the_next_budget(known: KnownTable) -> None:
    few, more = (tabular.joint_search(known, "nsga2", 0, 8, budgets) for budgets in ((8,), (8, 600)))
    assert few.place is None
    assert few.evaluated == 8
    assert more.place is not None
    assert 8 < more.place <= more.evaluated <= 600


def test_figures_over_the_seeds() -> None:
    place = ("top1", "chain", "nsga2")
    told = tabular.row(place, [Met(30, 40, 1.0), Met(10, 16, 3.0), Met(20, 24, 2.0)])
    assert (told.seeds, told.found, told.median, told.most, told.evaluated, told.seconds) == (3, 3, 20, 30, 40, 2.0)
    missed = tabular.row(place, [Met(30, 40, 1.0), Met(None, 81, 1.0)])
    assert (missed.seeds, missed.found, missed.median, missed.most, missed.evaluated) == (2, 1, None, None, 81)
    assert " 1 of 2" in str(missed)
    assert "never" in str(missed)


def test_the_table_and_the_figures(monkeypatch, file: Path, target: str, tmp_path: Path) -> None:
    monkeypatch.setattr(tabular, "SPACES", ("chain",))
    monkeypatch.setattr(tabular, "load_space", lambda name: Chain())
    out = tmp_path / "figures.json"
    done = run(
        str(file), "--macro", str(file), "--target", target, "--strategies", "random,nsga3", "--seeds", "2",
        "--joint-seeds", "1", "--joint-budget", "100", "--population", "8", "--json", str(out),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    figures = json.loads(out.read_text())
    rows = {(row["setting"], row["strategy"]): row for row in figures["rows"]}
    assert len(rows) == 6
    for setting in ("top1", "top1,latency"):
        assert rows[setting, "random"]["found"] == rows[setting, "random"]["seeds"] == 2
        assert 1 <= rows[setting, "random"]["median"] <= rows[setting, "random"]["most"] <= 81
    assert "takes 2 to 5 objectives" in rows["top1", "nsga3"]["refused"]
    assert rows["top1,latency", "nsga3"]["found"] == 2
    assert rows["joint", "random"]["seeds"] == 1
    assert [front["objective"] for front in figures["macro"]] == ["macs", "latency", "energy"]
    assert all(front["equal"] for front in figures["macro"])
    assert "chain: best 90.00 %" in done.output


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--settings", "top"), "unknown setting 'top'"),
        (("--strategies", "nsga"), "unknown strategy 'nsga': did you mean"),
    ],
)
def test_a_mistake_is_told(file: Path, option: tuple[str, str], said: str) -> None:
    done = run(str(file), *option)
    assert said in str(done.exception)
