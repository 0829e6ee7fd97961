"""Where a supernet, and one network of it, come from: a training's folder or a file; values, genes, or a pair of a run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from cosearch.errors import CheckpointError, SpaceError, TrainingError
from cosearch.space import Genomes, NetworkSpace
from cosearch.supernet import checkpoint, training_files
from cosearch.supernet.checkpoint import load_published, load_supernet, read_tensors
from cosearch.supernet.data import DIGITS, ImageData, load_data
from cosearch.supernet.supernet import Supernet


def open_supernet(path: str | Path, space: NetworkSpace | None = None) -> Supernet:
    """Return a trained supernet, in evaluation mode.

    Parameters
    ----------
    path
        A training's folder, a file that it wrote (``supernet.pt``), or one that Once-for-All published.
    space
        The space it is expected to be of; needed for a published file, which does not say.

    Raises
    ------
    CheckpointError
        If it cannot be read, is of another space, or is a training that has not ended.
    """
    file = Path(path)
    if file.is_dir():
        if not (file / training_files.SUPERNET).exists() and (file / training_files.CHECKPOINT).exists():
            raise CheckpointError(
                f"{file}: its training has not ended; go on with: cosearch train --out {file} --resume"
            )
        file = file / training_files.SUPERNET
    form = read_tensors(file).get("form")
    if form == training_files.FORM:
        raise CheckpointError(
            f"{file}: a checkpoint of a training; the supernet is {training_files.SUPERNET} beside it"
        )
    if form == checkpoint.FORM:
        return load_supernet(file, space).eval()
    if space is None:
        raise CheckpointError(
            f"{file}: does not say which space it is of; name it with --space, if Once-for-All published it"
        )
    return load_published(file, space).eval()


def read_genome(space: NetworkSpace, text: str) -> Genomes:
    """Return the canonical genome (knobs,) that a text means.

    Parameters
    ----------
    space
        The space it is one of.
    text
        ``largest`` or ``smallest``; a JSON object of knobs and values, where the knobs left out take their first choice;
        the genes, between commas; or ``RUN:ID``, a pair that a search recorded.

    Raises
    ------
    SpaceError
        If it means nothing, or no network of the space.
    RunError
        If there is no such run or pair.
    """
    if text in ("largest", "smallest"):
        last = space.choices_per_knob - 1
        return space.canonical((last if text == "largest" else 0 * last)[None])[0]
    if text.lstrip().startswith("{"):
        try:
            values = json.loads(text)
        except ValueError as error:
            raise SpaceError(f"network {text!r}: no JSON: {error}") from None
        return space.genome(
            {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        )
    if re.fullmatch(r"\s*-?\d+(\s*,\s*-?\d+)*\s*", text):
        try:
            genome = np.array([int(gene) for gene in text.split(",")], dtype=np.int64)
        except OverflowError:
            raise SpaceError(f"network {text!r}: a gene is the number of a choice, counted from 0") from None
        space.check(genome)
        return space.canonical(genome[None])[0]
    run, colon, number = text.rpartition(":")
    if not colon or not number.isdecimal():
        raise SpaceError(
            f"network {text!r}: write largest, smallest, a JSON object of knobs, genes such as 0,2,1, or RUN:ID"
        )
    return genome_of_pair(space, run, int(number))


def genome_of_pair(space: NetworkSpace, run: str | Path, number: int) -> Genomes:
    """Return the network's genome (knobs,) of a pair that a search recorded.

    Raises
    ------
    RunError
        If there is no such run or pair.
    SpaceError
        If the run searched another space.
    """
    from cosearch.results import Study

    study = Study.open(run)
    if study.config["space"] != space.name or study.config["fixed"] == "network":
        raise SpaceError(f"{run} searched {study.config['space']!r}, the supernet is one of {space.name!r}")
    genes = study.archive.pair(number).genome[: len(space.knobs)]
    return space.canonical(np.array([genes], dtype=np.int64))[0]


def calibration_data(supernet: Supernet, source: str | None) -> ImageData:
    """Return the images to take a sub-network's batch-norm statistics from; the digits for a network of grey images.

    Raises
    ------
    TrainingError
        If none are named where they have to be, or their classes are not the supernet's.
    """
    network = supernet.network(supernet.largest)
    if source is None and network.input.channels != 1:
        raise TrainingError(
            "a sub-network needs batch-norm statistics of its own: name the images with --data (digits, or a folder with train "
            "and val)"
        )
    data = load_data(source or DIGITS, network.input.channels)
    classes = network.nodes[-1].output.channels
    if data.classes != classes:
        raise TrainingError(f"{data.name} has {data.classes} classes, the supernet {classes}")
    return data
