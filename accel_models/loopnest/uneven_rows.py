"""Factor chains of a dim that is spread unevenly, and what they contribute to the terms.

Notation: inside the array at level `fan` lies an extent e that divides the dim; s children share the n = bound / e blocks
in m > 2 rounds of one temporal loop at level `turn`, r of them take part in the last. The words that enter tiles are exact;
those that a parent reads for children that share them are bounded from below (n / s rounds). `uneven.py` counts exactly.
"""

from __future__ import annotations

from accel_models.loopnest.compile import kernel
from accel_models.loopnest.counts import TEMPORAL
from accel_models.loopnest.question import relevant


@kernel
def obeys(chain, most, fixed, dim):  # type: ignore[no-untyped-def]
    """Tell whether a chain keeps the rules on a dim's temporal factors."""
    for level in range(chain.shape[0]):
        rule = fixed[level, TEMPORAL, dim]
        if (rule > 0 and chain[level] != rule) or chain[level] > most[level, TEMPORAL, dim]:
            return False
    return True


@kernel
def uneven_column(layer, terms, caps, run_of_term, spared, dim, chain, bounds, fan, children, out):  # type: ignore[no-untyped-def]
    """Fill the part that one unevenly spread dim has in every column of a row: out (width,).

    `bounds` are cumulative extents (not cut off); the last column is the steps in time.
    """
    whole = layer[dim]
    inside = bounds[fan - 1] if fan > 0 else 1
    blocks = whole // inside
    rounds = (blocks + children - 1) // children
    turn = fan
    for level in range(fan, chain.shape[0]):
        if chain[level] > 1:
            turn = level
    for term in range(terms.shape[0]):
        child = terms[term, 1]
        out[term] = whole
        if child < 0:
            continue
        if relevant(terms[term, 0], dim):
            continue
        mask = spared[run_of_term[term]]
        free = mask >> (8 * turn + dim) & 1
        if child >= fan:
            out[term] = 1 if child >= turn or free else rounds
            continue
        kept = bounds[child]
        for level in range(child + 1, fan):
            if mask >> (8 * level + dim) & 1:
                kept *= chain[level]
        out[term] = inside // kept * (children if free else blocks)
    for cap in range(caps.shape[0]):
        out[terms.shape[0] + cap] = min(bounds[caps[cap, 0]], whole) if relevant(caps[cap, 1], dim) else 1
    out[terms.shape[0] + caps.shape[0]] = inside * rounds


@kernel
def uneven_lines(  # type: ignore[no-untyped-def]
    layer, dim, other, fan, children, slot, child, row, its, chain, chain_other, at, at_other, space_other
):  # fmt: skip
    """Lines of inputs that enter tiles at `child` over all instances: `dim` is uneven, `other` shares its window.

    `row` and `its` say which chains of `dim` and `other`; `slot` is the loop that slides, -1 for none.
    """
    pace, pace_other = layer[dim + 5], layer[other + 5]
    whole = layer[dim]
    inside = at[row, fan - 1] if fan > 0 else 1
    blocks = whole // inside
    rounds = (blocks + children - 1) // children
    last = blocks - children * (rounds - 1)
    turn = fan
    for level in range(fan, chain.shape[1]):
        if chain[row, level] > 1:
            turn = level
    extent = min(at[row, child], whole) if child >= 0 else 1
    extent_other = at_other[its, child] if child >= 0 else 1
    outside_other = layer[other] // extent_other
    wide = (extent - 1) * pace + (extent_other - 1) * pace_other + 1
    cut = fan <= child < turn
    short = (rounds * extent - whole) * pace if cut else 0  # lines that the last tile has less
    if cut:
        tiles = rounds
    elif child >= turn:
        tiles = 1
    else:
        tiles = blocks * (inside // extent)
    if slot < 0:
        return outside_other * (tiles * wide - short)
    level = slot >> 3
    if slot & 7 == other:
        steps = chain_other[its, level]
        step = pace_other * space_other[level] * (at_other[its, level - 1] if level else 1)
        lines = tiles * (wide + (steps - 1) * min(step, wide))
        if cut:
            narrow = wide - short
            lines = (rounds - 1) * (wide + (steps - 1) * min(step, wide)) + narrow + (steps - 1) * min(step, narrow)
        return outside_other // steps * lines
    if level < fan:  # inside the array all factors divide
        steps, step = chain[row, level], pace * (at[row, level - 1] if level else 1)
        return outside_other * (tiles // steps) * (wide + (steps - 1) * min(step, wide))
    if level != turn:  # no loop there: an order class that another one counts better
        return outside_other * (tiles * wide - short)
    step = min(pace * inside * children, wide)
    if cut:
        return outside_other * (wide + (rounds - 1) * step - short if step < wide else rounds * wide - short)
    lines = last * (wide + (rounds - 1) * step) + (children - last) * (wide + (rounds - 2) * step)
    return outside_other * (inside // extent) * lines
