"""The folder of a training: its checkpoint, its log, its schedule, and the supernet at the end.

Every file is written beside its place and then moved there, so a process killed at any moment leaves whole files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from cosearch.errors import CheckpointError, TrainingError
from cosearch.supernet.checkpoint import read_tensors, save_supernet
from cosearch.supernet.supernet import Supernet

FORM = "cosearch training 1"
CHECKPOINT, LOG, SCHEDULE, SUPERNET = "checkpoint.pt", "epochs.jsonl", "schedule.yaml", "supernet.pt"


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file, and put it in its place when it is whole and on the disk."""
    beside = path.with_name(path.name + ".part")
    write(beside)
    with beside.open("rb+") as file:
        os.fsync(file.fileno())
    beside.replace(path)


class TrainingFolder:
    """The files of one training."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def started(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return (self.path / CHECKPOINT).exists()

    def begin(self, schedule: str) -> None:
        """Make the folder, for a new training by that schedule (YAML).

        Raises
        ------
        TrainingError
            If it has a training already.
        """
        if self.started:
            raise TrainingError(f"{self.path} already has a training; go on with --resume, or name another folder")
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self.path / SCHEDULE, lambda path: path.write_text(schedule, encoding="utf-8"))

    def read(self) -> Mapping[str, Any]:
        """Return the checkpoint.

        Raises
        ------
        TrainingError
            If there is none.
        CheckpointError
            If it cannot be read.
        """
        path = self.path / CHECKPOINT
        if not self.started:
            raise TrainingError(f"{self.path} has no training to go on with ({CHECKPOINT} is missing)")
        state = read_tensors(path)
        if state.get("form") != FORM:
            raise CheckpointError(f"{path}: no checkpoint of form {FORM!r}")
        return state

    def write(self, state: Mapping[str, Any], log: Sequence[Mapping[str, Any]]) -> None:
        """Write the checkpoint after an epoch, and the log up to there."""
        write_whole(self.path / CHECKPOINT, lambda path: torch.save({"form": FORM, **state}, path))
        lines = "".join(json.dumps(row) + "\n" for row in log)
        write_whole(self.path / LOG, lambda path: path.write_text(lines, encoding="utf-8"))

    def finish(self, supernet: Supernet) -> None:
        """Write the trained supernet."""
        write_whole(self.path / SUPERNET, lambda path: save_supernet(path, supernet))
