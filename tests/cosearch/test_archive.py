"""The record on disk: what goes in comes out, a generation is whole or absent, damage is told and never a traceback."""

from __future__ import annotations

import math
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from accel_models.networks import load_network
from cosearch.archive import FILE_NAME, SCHEMA_VERSION, Archive, Pair
from cosearch.errors import RunError
from cosearch.evaluate import MappingOptions
from cosearch.objective import METRICS
from cosearch.results import Study
from cosearch.space import Knob
from cosearch.study import resume, search


def pair(key: int, **changes: object) -> Pair:
    values = {name: key + place / 8 for place, name in enumerate(METRICS)}
    fields = {"id": key, "generation": 1, "genome": (key, 0, 3), "feasible": True, "violation": 0.0, "extrapolated": False,
              "reason": "", "metrics": values}  # fmt: skip
    return Pair(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def archive(tmp_path) -> Archive:
    return Archive(tmp_path / "run" / FILE_NAME, create=True)


def reopened(archive: Archive) -> Archive:
    archive.close()
    assert archive.path is not None
    return Archive(archive.path)


def test_pairs_come_back_as_they_went_in(archive) -> None:
    pairs = [
        pair(1),
        pair(2, feasible=False, violation=0.25, extrapolated=True),
        pair(3, feasible=False, violation=1e9, reason="tä\n'x'"),
    ]
    archive.append(pairs)
    again = reopened(archive)
    assert again.pairs() == pairs
    assert again.pair(2) == pairs[1]
    assert again.pairs("feasible = 1") == pairs[:1]
    assert isinstance(again.pairs()[0].feasible, bool)


def test_a_metric_that_is_no_number_comes_back_as_one_that_is_none(archive) -> None:
    archive.append([pair(1, metrics={"latency_s": 0.1 + 0.2, "top1_percent": math.nan})])
    metrics = reopened(archive).pair(1).metrics
    assert set(metrics) == set(METRICS)
    assert metrics["latency_s"] == 0.1 + 0.2  # to the last bit
    assert all(math.isnan(value) for name, value in metrics.items() if name != "latency_s")


def test_knobs_references_and_values_come_back(archive) -> None:
    knobs = [Knob("size", (8, 16), "words"), Knob("dataflow", (("K", "C"), ("Q",))), Knob("mixed", (0.5, "text", True))]
    archive.write_knobs(knobs)
    archive.write_references([("b", "note", {"macs": 3.0}), ("a", "", {"latency_s": 0.5})])
    archive.set("config", {"limits": ["area_mm2<=3"], "seed": 7})
    again = reopened(archive)
    assert again.knobs() == knobs
    assert [(name, note) for name, note, _ in again.references()] == [("a", ""), ("b", "note")]
    assert again.references()[1][2]["macs"] == 3.0
    assert again.get("config") == {"limits": ["area_mm2<=3"], "seed": 7}
    assert again.get("absent") is None
    assert again.get("absent", 3) == 3


@pytest.mark.parametrize("key", [0, 4, -1, 2**63, 10**30])
def test_a_pair_that_is_not_there(archive, key) -> None:
    archive.append([pair(1), pair(2), pair(3)])
    with pytest.raises(RunError, match=rf"^no pair {key} in this run; ids go from 1 to 3$"):
        archive.pair(key)


# All or none


@pytest.mark.parametrize(
    "last",
    [
        pair(3),  # an id twice
        pair(5, genome=(1, 0, 3)),  # a genome twice
        pair(5, reason=None),  # a value that the table refuses
        pair(5, metrics={"macs": [1, 2]}),  # a value that is none
        pair(5, generation=2**70),
    ],
    ids=["id", "genome", "null", "list", "large"],
)
def test_a_generation_is_stored_whole_or_not_at_all(archive, last) -> None:
    archive.append([pair(1), pair(2)])
    with pytest.raises((RunError, TypeError, OverflowError)):
        archive.append([pair(3), pair(4), last])
    assert [kept.id for kept in archive.pairs()] == [1, 2]
    archive.append([pair(3)])
    assert [kept.id for kept in reopened(archive).pairs()] == [1, 2, 3], "the failed write left the file locked"


def test_a_write_that_is_interrupted_leaves_nothing(archive) -> None:
    class Interrupting(list):
        def __iter__(self):
            yield pair(1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archive.append(Interrupting())
    assert reopened(archive).pairs() == []


def test_a_full_disk_is_told_and_leaves_the_generations_before(archive) -> None:
    archive.append([pair(1)])
    pages = archive._read("PRAGMA page_count")[0][0]
    archive._read(f"PRAGMA max_page_count = {pages}")
    many = [pair(key, reason="x" * 200) for key in range(2, 200)]
    with pytest.raises(RunError, match=r"archive\.sqlite: cannot be written \(database or disk is full\)"):
        archive.append(many)
    assert [kept.id for kept in reopened(archive).pairs()] == [1]


def test_another_writer_is_told(archive) -> None:
    other = sqlite3.connect(archive.path, isolation_level=None, timeout=0)
    archive._db.execute("PRAGMA busy_timeout = 0")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RunError, match=r"cannot be written \(database is locked\)"):
        archive.append([pair(1)])
    other.execute("ROLLBACK")
    other.close()
    archive.append([pair(1)])


# Files


def test_an_archive_of_another_version_is_not_read(archive) -> None:
    archive.set("schema_version", SCHEMA_VERSION + 1)
    with pytest.raises(
        RunError, match=f"archive of version {SCHEMA_VERSION + 1}, this program reads version {SCHEMA_VERSION}$"
    ):
        reopened(archive)


def test_a_new_archive_takes_nobodys_place(archive, tmp_path) -> None:
    with pytest.raises(RunError, match=r"run already holds a run; choose another folder \(--out\) or remove it first"):
        Archive(archive.path, create=True)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be used as an archive"):
        Archive(tmp_path / "file" / FILE_NAME, create=True)


def test_what_is_no_archive(tmp_path) -> None:
    with pytest.raises(RunError, match=r"holds no run: there is no archive\.sqlite"):
        Archive(tmp_path / FILE_NAME)
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(RunError, match="holds no run"):
        Archive(tmp_path / FILE_NAME)
    foreign = sqlite3.connect(tmp_path / "foreign.sqlite")
    foreign.execute("CREATE TABLE run (something TEXT)")
    foreign.close()
    with pytest.raises(RunError, match="cannot be read"):
        Archive(tmp_path / "foreign.sqlite")


def test_a_record_in_memory_leaves_no_file(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    archive = Archive(None)
    archive.append([pair(1)])
    assert archive.pairs() == [pair(1)]
    assert not list(tmp_path.iterdir())


# Damage


@pytest.fixture(scope="module")
def recorded(tiny, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    options = {"budget": 60, "population": 20, "mapping": MappingOptions(effort=4), "out": folder / "run"}
    search(load_network("mobilenet-v2", 64), tiny, ("latency", "energy", "area"), **options).archive.close()
    return folder / "run"


def look(folder: Path) -> int:
    """Do what the commands do with a run; return how many pairs could be read."""
    study = Study.open(folder)
    try:
        study.front(), study.archive.references(), study.archive.knobs()
        return len(study.archive.pairs())
    finally:
        study.archive.close()


def test_a_truncated_archive_is_shorter_or_told(recorded, tmp_path) -> None:
    whole = (recorded / FILE_NAME).read_bytes()
    assert look(recorded) == 60
    pages = range(0, len(whole), 4096)
    chance = random.Random(0)
    cuts = {0, 1, 15, 16, 99, 100, 101, len(whole) - 1, *pages, *(chance.randrange(len(whole)) for _ in range(60))}
    told = 0
    for cut in sorted(cuts):
        (tmp_path / FILE_NAME).write_bytes(whole[:cut])
        try:
            assert look(tmp_path) <= 60
        except RunError as error:
            told += 1
            assert str(tmp_path) in str(error)
    assert told > len(cuts) / 2


def test_an_overwritten_archive_is_read_or_told(recorded, tmp_path) -> None:
    """Some bytes anywhere are overwritten: the reader may see other numbers, but never stumbles."""
    whole = (recorded / FILE_NAME).read_bytes()
    told = 0
    for seed in range(120):
        chance = random.Random(seed)
        at, length = chance.randrange(len(whole)), chance.choice((1, 8, 300))
        (tmp_path / FILE_NAME).write_bytes(whole[:at] + chance.randbytes(length) + whole[at + length :])
        try:
            look(tmp_path)
        except RunError:
            told += 1
    assert told > 10


@pytest.mark.parametrize(
    ("key", "value"),
    [("config", {}), ("config", 3), ("config", {"objectives": 7}), ("config", []), ("config", {"objectives": []})],
    ids=str,
)
def test_a_record_whose_question_cannot_be_read(recorded, tmp_path, key, value) -> None:
    shutil.copy(recorded / FILE_NAME, tmp_path)
    archive = Archive(tmp_path / FILE_NAME)
    archive.set(key, value)
    archive.close()
    with pytest.raises(Exception) as caught:
        Study.open(tmp_path)
    assert type(caught.value).__module__ == "cosearch.errors"


def test_a_record_of_another_program_is_not_continued(recorded, tmp_path) -> None:
    shutil.copy(recorded / FILE_NAME, tmp_path)
    archive = Archive(tmp_path / FILE_NAME)
    config = archive.get("config")
    for change in (
        {"strategy": "nsga3000"},
        {"unheard": 1},
        {"mapping": {"unheard": 1}},
        {"target": "{}"},
        {"target": "x"},
    ):
        archive.set("config", {**config, **change})
        with pytest.raises(Exception) as caught:
            resume(tmp_path, budget=80)
        assert type(caught.value).__module__ == "cosearch.errors", (change, repr(caught.value))
    archive.set("config", config)
    archive.close()
    assert len(resume(tmp_path, budget=80).archive.pairs()) == 80


@pytest.mark.parametrize("name", ["latency_s", "energy_j", "area_mm2"])
def test_figures_of_two_cost_models_are_not_mixed(recorded, tmp_path, name) -> None:
    shutil.copy(recorded / FILE_NAME, tmp_path)
    archive = Archive(tmp_path / FILE_NAME)
    archive._db.execute(f"UPDATE pairs SET {name} = {name} * 1.001")
    archive.close()
    with pytest.raises(
        RunError, match=rf"recorded with another cost model \({name} of pair \d+ was .*, is .*\); it can be looked at"
    ):
        resume(tmp_path, budget=80)
    assert look(tmp_path) == 60


def test_a_smaller_budget_than_the_record_is_refused(recorded, tmp_path) -> None:
    shutil.copy(recorded / FILE_NAME, tmp_path)
    with pytest.raises(RunError, match="60 pairs were looked at already; a budget of 59 would be less"):
        resume(tmp_path, budget=59)
    assert Archive(tmp_path / FILE_NAME).get("budget") == 60
