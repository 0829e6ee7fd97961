"""Networks of the DARTS space as its papers write them, and published ones by name."""

from __future__ import annotations

from typing import NamedTuple

OPERATIONS = (
    "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5"
)  # fmt: skip
"""What an edge may be. The paper's eighth, none, is there while it searches; the networks it derives never have it."""

Edges = tuple[tuple[str, int], ...]
"""Of a cell, step by step: (operation, number of the tensor it reads), two per step. Tensors 0 and 1 are made by the cells
before the last and last, tensor 2 by the first step, and so on."""


class Genotype(NamedTuple):
    """A network of the space in the form of the paper's code; a cell hands on what its four steps made, side by side."""

    normal: Edges
    reduction: Edges


def _named(normal: str, reduction: str) -> Genotype:
    """Read cells such as ``sep3-0 skip-1 ..``: per edge an operation, shortened, and the tensor that it reads."""
    return Genotype(*(tuple(_read(word) for word in cell.split()) for cell in (normal, reduction)))


def _read(word: str) -> tuple[str, int]:
    short, tensor = word.split("-")
    return _SHORT[short], int(tensor)


_SHORT = {
    "max": "max_pool_3x3", "avg": "avg_pool_3x3", "skip": "skip_connect", "sep3": "sep_conv_3x3", "sep5": "sep_conv_5x5",
    "dil3": "dil_conv_3x3", "dil5": "dil_conv_5x5",
}  # fmt: skip

GENOTYPES = {
    "darts-v1": _named(
        "sep3-1 sep3-0  skip-0 sep3-1  skip-0 sep3-1  sep3-0 skip-2",
        "max-0 max-1  skip-2 max-0  max-0 skip-2  skip-2 avg-0",
    ),
    "darts-v2": _named(
        "sep3-0 sep3-1  sep3-0 sep3-1  sep3-1 skip-0  skip-0 dil3-2",
        "max-0 max-1  skip-2 max-1  max-0 skip-2  skip-2 max-1",
    ),
    "p-darts": _named(
        "skip-0 dil3-1  skip-0 sep3-1  sep3-1 sep3-3  sep3-0 dil5-4",
        "avg-0 sep5-1  sep3-0 dil5-2  max-0 dil3-1  dil3-1 dil5-3",
    ),
    "pc-darts-cifar10": _named(
        "sep3-1 skip-0  sep3-0 dil3-1  sep5-0 sep3-1  avg-0 dil3-1",
        "sep5-1 max-0  sep5-1 sep5-2  sep3-0 sep3-3  sep3-1 sep3-2",
    ),
    "pc-darts-imagenet": _named(
        "skip-1 sep3-0  sep3-0 skip-1  sep3-1 sep3-3  sep3-1 dil5-4",
        "sep3-0 skip-1  dil5-2 max-1  sep3-2 sep3-1  sep5-0 sep3-3",
    ),
}
"""Published networks of the space: those of DARTS (first and second order; figures 4 to 6 of the paper and its code), of
P-DARTS (Chen et al., ICCV 2019) and of PC-DARTS (Xu et al., ICLR 2020; searched on CIFAR-10 and on ImageNet)."""
