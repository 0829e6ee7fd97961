"""The record of a run on disk: one SQLite file, one row per evaluated pair, one transaction per generation.

Tables
------
``run``        key, value: what was asked (JSON), versions.
``knobs``      position, name, unit, choices (JSON): what the numbers of a genome mean.
``pairs``      id, generation, genome (JSON list), feasible, violation, reason, extrapolated, and the metrics.
``answers``    generation, machine, most, complete, refuted, pairs: what answered questions about more than the pairs recorded.
``reference``  name, note and metrics of known networks on the unmodified target, for comparison.

Nothing in it depends on the clock, the machine or the number of workers: the same search writes the same bytes.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosearch.errors import RunError
from cosearch.objective import METRICS
from cosearch.space import Knob

SCHEMA_VERSION = 3
FILE_NAME = "archive.sqlite"

_METRIC_COLUMNS = ", ".join(f"{name} REAL" for name in METRICS)
_SCHEMA = f"""
CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE knobs (position INTEGER PRIMARY KEY, name TEXT NOT NULL, unit TEXT NOT NULL, choices TEXT NOT NULL);
CREATE TABLE pairs (
    id INTEGER PRIMARY KEY, generation INTEGER NOT NULL, genome TEXT NOT NULL UNIQUE, feasible INTEGER NOT NULL,
    violation REAL NOT NULL, extrapolated INTEGER NOT NULL, reason TEXT NOT NULL, {_METRIC_COLUMNS}
);
CREATE TABLE answers (
    generation INTEGER NOT NULL, machine TEXT NOT NULL, most INTEGER, complete INTEGER NOT NULL,
    refuted INTEGER NOT NULL, pairs TEXT NOT NULL,
    UNIQUE (generation, machine)
);
CREATE TABLE reference (name TEXT PRIMARY KEY, note TEXT NOT NULL, {_METRIC_COLUMNS}) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Pair:
    """One evaluated (network, hardware) pair.

    `violation` is the sum of relative excesses over the limits (infinite where the hardware cannot run the network);
    `metrics` holds the figures of :data:`cosearch.objective.METRICS`, NaN where there is none.
    """

    id: int
    generation: int
    genome: tuple[int, ...]
    feasible: bool
    violation: float
    extrapolated: bool
    reason: str
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Answer:
    """What answered a question about a whole machine, or about pairs most of which were refuted.

    Parameters
    ----------
    generation
        When it was asked.
    machine
        The hardware genome of a whole machine; None of pairs tried.
    most
        How many pairs were wanted at most; None for all.
    complete
        False where the budget ended before all was answered.
    refuted
        How many pairs were refuted.
    pairs
        Ids of the answer's pairs.
    """

    generation: int
    machine: tuple[int, ...] | None
    most: int | None
    complete: bool
    refuted: int
    pairs: tuple[int, ...]


def refuse_taken(path: Path) -> None:
    """Refuse to make a new archive where one lies.

    Raises
    ------
    RunError
        If there is one.
    """
    if path.exists():
        raise RunError(f"{path.parent} already holds a run; choose another folder (--out) or remove it first")


class Archive:
    """Reads and writes one run's record.

    Parameters
    ----------
    path
        The SQLite file; None keeps the record in memory.
    create
        True to make a new one.

    Raises
    ------
    RunError
        If there is none to read, one is in the way of a new one, or the file is damaged.
    """

    def __init__(self, path: Path | None, *, create: bool = False) -> None:
        if path is not None and create:
            refuse_taken(path)
        if path is not None and not create and not path.is_file():
            raise RunError(f"{path.parent} holds no run: there is no {path.name}")
        self.path = path
        try:
            if path is not None and create:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(":memory:" if path is None else path, isolation_level=None)
            if create or path is None:
                self._db.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
                self.set("schema_version", SCHEMA_VERSION)
            self._check_version()
        except (sqlite3.Error, OSError) as error:
            raise RunError(f"{path}: cannot be used as an archive ({error})") from None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def set(self, key: str, value: Any) -> None:
        """Store a JSON value under a key of the `run` table."""
        self._db.execute("INSERT OR REPLACE INTO run VALUES (?, ?)", (key, json.dumps(value, sort_keys=True)))

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value of the `run` table."""
        rows = self._read("SELECT value FROM run WHERE key = ?", (key,))
        return self._json(rows[0][0]) if rows else default

    def write_knobs(self, knobs: Sequence[Knob]) -> None:
        """Store what genes mean."""
        rows = [(place, knob.name, knob.unit, json.dumps(knob.choices)) for place, knob in enumerate(knobs)]
        self._write("INSERT INTO knobs VALUES (?, ?, ?, ?)", rows)

    def knobs(self) -> list[Knob]:
        """Return the knobs, in the order of the genes."""
        rows = self._read("SELECT name, unit, choices FROM knobs ORDER BY position")
        return [Knob(name, tuple(_hashable(choice) for choice in self._json(text)), unit) for name, unit, text in rows]

    def write_references(self, rows: Iterable[tuple[str, str, Mapping[str, float]]]) -> None:
        """Store (name, note, metrics) of known networks on the unmodified target."""
        marks = ", ".join("?" * (2 + len(METRICS)))
        values = [(name, note, *_figures(metrics)) for name, note, metrics in rows]
        self._write(f"INSERT INTO reference VALUES ({marks})", values)

    def references(self) -> list[tuple[str, str, dict[str, float]]]:
        """Return (name, note, metrics) of the references."""
        rows = self._read(f"SELECT name, note, {', '.join(METRICS)} FROM reference ORDER BY name")
        return [(name, note, _metrics(figures)) for name, note, *figures in rows]

    def append(self, pairs: Sequence[Pair], answer: Answer | None = None) -> None:
        """Store the pairs of one generation, or of one answer with what was asked; all or none."""
        marks = ", ".join("?" * (7 + len(METRICS)))
        rows = [
            (pair.id, pair.generation, _text(pair.genome), int(pair.feasible), pair.violation, int(pair.extrapolated),
             pair.reason, *_figures(pair.metrics))
            for pair in pairs
        ]  # fmt: skip
        with self._transaction() as database:
            database.executemany(f"INSERT INTO pairs VALUES ({marks})", rows)
            if answer is not None:
                machine = "" if answer.machine is None else _text(answer.machine)
                asked = (answer.generation, machine, answer.most, int(answer.complete), answer.refuted)
                row = (*asked, _text(answer.pairs))
                database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)", row)

    def answers(self, generation: int | None = None) -> list[Answer]:
        """Return the answers of one generation or of all, in the order they were asked for."""
        where = "" if generation is None else "WHERE generation = ?"
        rows = self._read(
            f"SELECT generation, machine, most, complete, refuted, pairs FROM answers {where} ORDER BY rowid",
            () if generation is None else (generation,),
        )
        return [
            Answer(
                asked, tuple(self._json(machine)) if machine else None, most, bool(complete), refuted,
                tuple(self._json(pairs)),
            )
            for asked, machine, most, complete, refuted, pairs in rows
        ]  # fmt: skip

    def looked_at(self) -> int:
        """Return how many pairs were recorded or refuted."""
        return int(self._read("SELECT (SELECT COUNT(*) FROM pairs) + (SELECT TOTAL(refuted) FROM answers)")[0][0])

    def fronts(self) -> list[Answer]:
        """Return the answers about whole machines."""
        return [answer for answer in self.answers() if answer.machine is not None]

    def pairs(self, where: str = "", values: tuple[Any, ...] = ()) -> list[Pair]:
        """Return the stored pairs in order of evaluation, those that an SQL condition selects."""
        query = (
            f"SELECT id, generation, genome, feasible, violation, extrapolated, reason, {', '.join(METRICS)} FROM pairs"
        )
        rows = self._read(f"{query} {'WHERE ' + where if where else ''} ORDER BY id", values)
        return [
            Pair(
                key,
                generation,
                tuple(self._json(genome)),
                bool(feasible),
                violation,
                bool(outside),
                reason,
                _metrics(rest),
            )
            for key, generation, genome, feasible, violation, outside, reason, *rest in rows
        ]

    def pair(self, key: int) -> Pair:
        """Return one pair by its id.

        Raises
        ------
        RunError
            If there is none.
        """
        found = self.pairs("id = ?", (key,)) if abs(key) < 2**63 else []  # SQLite's integers end there
        if not found:
            last = self._read("SELECT MAX(id) FROM pairs")[0][0]
            raise RunError(f"no pair {key} in this run; ids go from 1 to {last or 0}")
        return found[0]

    def _write(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        with self._transaction() as database:
            database.executemany(statement, rows)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Write all of what is done inside, or nothing."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                if self._db.in_transaction:  # a full disk ends it already
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise RunError(f"{self.path}: cannot be written ({error})") from None

    def _read(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(query, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise RunError(f"{self.path}: cannot be read ({error})") from None

    def _json(self, text: Any) -> Any:
        try:
            return json.loads(text)
        except (TypeError, ValueError, RecursionError):
            raise RunError(f"{self.path}: cannot be read (damaged: {str(text)[:40]!r} is no JSON)") from None

    def _check_version(self) -> None:
        version = self.get("schema_version")
        if version != SCHEMA_VERSION:
            raise RunError(f"{self.path}: archive of version {version}, this program reads version {SCHEMA_VERSION}")


def _figures(metrics: Mapping[str, float]) -> list[float | None]:
    values = [float(metrics.get(name, math.nan)) for name in METRICS]
    return [None if math.isnan(value) else value for value in values]


def _metrics(figures: Sequence[float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in zip(METRICS, figures, strict=True)}


def _text(numbers: tuple[int, ...]) -> str:
    return json.dumps(numbers, separators=(",", ":"))


def _hashable(choice: Any) -> Any:
    return tuple(choice) if isinstance(choice, list) else choice
