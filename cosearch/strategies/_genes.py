"""Changes of single genes, common to the strategies that mutate."""

from __future__ import annotations

import numpy as np

from cosearch.space import Genomes


def other_choices(genomes: Genomes, choices: Genomes, rng: np.random.Generator) -> Genomes:
    """Return another choice for every gene: half of the time a neighbouring one, else any other.

    Parameters
    ----------
    genomes
        (n, knobs).
    choices
        Choices of each knob, (knobs,). A gene whose knob has one choice comes back outside of it: do not take it.
    rng
        Where chance comes from.
    """
    shape = genomes.shape
    step = np.where(rng.random(shape) < 0.5, -1, 1)
    near = genomes + step
    near = np.where((near < 0) | (near >= choices), genomes - step, near)
    far = (genomes + 1 + (rng.random(shape) * np.maximum(choices - 1, 1)).astype(np.int64)) % choices
    return np.where(rng.random(shape) < 0.5, near, far)
