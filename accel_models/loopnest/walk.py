"""Every iteration of a loop nest, walked: the counts of mappings whose factors do not divide the layer.

A loop may have a last, shorter iteration, so tiles differ in size and some children idle at the end. There is no product
to count with; the walk goes through the temporal loops outside a tile and asks at each step what each child's tile gains
over the one that it held before. A child that has nothing to do keeps its tile.

``layer``    int64 (12,), as in `counts`.
``loops``    int64 (n, 3): the temporal loops outside the tile, innermost first: dim, steps, distance of one step.
``starts``   int64 (children, 8): where each child's tile starts.
``group``    int64 (children,): children of one parent that would get equal tiles share a number; numbers ascend from 0.
``weight``   float64 (children,): how many real children one stands for.
``extent``   int64 (8,): full extents of the tile.
``result``   float64 (2,): words into all children; accesses of all parents.
"""

from __future__ import annotations

import numpy as np

from accel_models.loopnest.compile import kernel
from accel_models.loopnest.counts import (
    DILATION_H,
    DILATION_W,
    INPUTS,
    OUTPUTS,
    STRIDE_H,
    STRIDE_W,
    WEIGHTS,
    C,
    G,
    K,
    N,
    P,
    Q,
    R,
    S,
)


@kernel
def set_box(layer, dataspace, start, extent, box):  # type: ignore[no-untyped-def]
    """Fill `box` (5, 2) with the first and last coordinates of a tile; return False where it lies outside the layer."""
    for dim in range(8):
        if start[dim] >= layer[dim]:
            return False
    if dataspace == WEIGHTS:
        dims = (G, K, C, R, S)
    elif dataspace == OUTPUTS:
        dims = (G, N, K, P, Q)
    else:
        dims = (G, N, C, P, Q)
    for place in range(5):
        dim = dims[place]
        box[place, 0] = start[dim]
        box[place, 1] = min(start[dim] + extent[dim], layer[dim]) - 1
    if dataspace == INPUTS:
        last_r = min(start[R] + extent[R], layer[R]) - 1
        last_s = min(start[S] + extent[S], layer[S]) - 1
        box[3, 0] = box[3, 0] * layer[STRIDE_W] + start[R] * layer[DILATION_W]
        box[3, 1] = box[3, 1] * layer[STRIDE_W] + last_r * layer[DILATION_W]
        box[4, 0] = box[4, 0] * layer[STRIDE_H] + start[S] * layer[DILATION_H]
        box[4, 1] = box[4, 1] * layer[STRIDE_H] + last_s * layer[DILATION_H]
    return True


@kernel
def gained(box, held, has):  # type: ignore[no-untyped-def]
    """Elements of `box` that are not in `held` (where `has` says that there is one)."""
    volume, shared = 1.0, 1.0
    for place in range(5):
        volume *= box[place, 1] - box[place, 0] + 1
        shared *= max(0, min(box[place, 1], held[place, 1]) - max(box[place, 0], held[place, 0]) + 1)
    return volume - shared if has else volume


@kernel
def walk(layer, dataspace, loops, starts, group, weight, extent, keeps_tile, result):  # type: ignore[no-untyped-def]
    """Walk all steps; fill `result`. Without `keeps_tile` (a MAC) every step brings its operands anew."""
    children = starts.shape[0]
    index = np.zeros(loops.shape[0], dtype=np.int64)
    at = np.empty(8, dtype=np.int64)
    box = np.empty((5, 2), dtype=np.int64)
    held = np.zeros((children, 5, 2), dtype=np.int64)
    has = np.zeros(children, dtype=np.bool_)
    sent = np.zeros(group.max() + 1, dtype=np.float64)
    result[:] = 0.0
    walking = True
    while walking:
        sent[:] = 0.0
        for child in range(children):
            at[:] = starts[child]
            for place in range(loops.shape[0]):
                at[loops[place, 0]] += index[place] * loops[place, 2]
            if not set_box(layer, dataspace, at, extent, box):
                continue
            fresh = gained(box, held[child], has[child] and keeps_tile)
            held[child] = box
            has[child] = True
            result[0] += fresh * weight[child]
            sent[group[child]] = max(sent[group[child]], fresh)
        result[1] += sent.sum()
        walking = False
        for place in range(loops.shape[0]):
            index[place] += 1
            if index[place] < loops[place, 1]:
                walking = True
                break
            index[place] = 0
