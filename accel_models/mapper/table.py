"""Many layers on one machine: the best mapping of each, in one call and on as many cores as are wanted."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from accel_models.accelerator import Accelerator
from accel_models.mapper.base import Found
from accel_models.mapper.best import find
from accel_models.workload import Layer


def map_layers(
    layers: Iterable[Layer], accelerator: Accelerator, objective: str = "edp", *, mapper: str = "exact",
    effort: int = 1000, seed: int = 0, threads: int = 1,
) -> dict[Layer, Found]:  # fmt: skip
    """Return the best mapping of every distinct layer, in order of first appearance.

    Parameters
    ----------
    objective, mapper, effort, seed
        How mappings are looked for; see :func:`accel_models.best_mapping`.
    threads
        Cores to use: layers are shared out among them (the kernels release the interpreter lock). The result does not
        depend on it.

    Raises
    ------
    MappingError
        If a layer cannot be mapped at all: the error of the first such layer.
    UnknownNameError
        For an unknown objective or mapper.
    """

    def search(layer: Layer) -> Found:
        return find(layer, accelerator, objective, mapper, effort, seed)

    distinct = list(dict.fromkeys(layers))
    if threads == 1 or len(distinct) < 2:
        return {layer: search(layer) for layer in distinct}
    with ThreadPoolExecutor(threads) as pool:
        # results and errors come in the order of the layers; an error cancels what has not begun
        return dict(zip(distinct, pool.map(search, distinct), strict=True))
