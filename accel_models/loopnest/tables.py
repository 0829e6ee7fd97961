"""Tables of the factor chains of one group of dims, less those that are nowhere better than others.

For one group, one *key* (what an order class says of the group's loops) and one *signature* (how much of each dim lies
in space at each level) a table lists the remaining temporal chains as rows of numbers: the group's factor in every term,
then in every cap. All are integers, held exactly in doubles, and smaller is better in each of them: a row that is
nowhere smaller than another can be dropped, and the least of each column bounds what the group can contribute.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_models.loopnest.chains import chains_of, extents, uneven_chains, useful_slots
from accel_models.loopnest.compile import kernel
from accel_models.loopnest.counts import CAPACITY, INPUTS, WIDTH, distinct_offsets
from accel_models.loopnest.orders import EITHER
from accel_models.loopnest.question import ACCESS, relevant
from accel_models.loopnest.uneven_rows import uneven_column, uneven_lines


class Tables(NamedTuple):
    """All tables of one question, filled as they are asked for; `width` as of the question.

    ``signatures`` int64 (groups, most, L, 2): spatial factors; ``signature_count`` int64 (groups,).
    ``key_spared``, ``key_halo`` int64 (groups, keys, runs), ``key_ones`` int64 (groups, keys): the keys;
    ``key_of`` int64 (classes, groups): which key a class has.
    ``relaxed`` float64 (groups, keys, signatures, terms): see `relaxed_least`; first NaN where they are not computed yet.
    ``first``, ``count`` int64 (groups, keys, signatures): rows of a table; count -1 where it is not made yet.
    ``least`` float64 (groups, keys, signatures, width): least of each column (infinite where there is no row).
    ``values`` float64 (rows, width); ``factors`` int32 (rows, L + 1, 2): temporal factors, then the levels (a bit mask)
    where the second dim of a window takes the first one's place, and 1 for an uneven row; ``used`` int64 (1,): rows in use.
    """

    signatures: Any
    signature_count: Any
    key_spared: Any
    key_halo: Any
    key_ones: Any
    key_of: Any
    relaxed: Any
    first: Any
    count: Any
    least: Any
    values: Any
    factors: Any
    used: Any


@kernel
def fill_columns(  # type: ignore[no-untyped-def]
    layer, terms, caps, run_of_term, spared, dim, chains, bounds, fans, space, out
):  # fmt: skip
    """Fill the part that one dim has in every column of a row: out (n, width). Windows of inputs are not shared here."""
    whole = layer[dim]
    for row in range(chains.shape[0]):
        if fans[row] >= 0:
            uneven_column(
                layer, terms, caps, run_of_term, spared, dim, chains[row], bounds[row], fans[row], space[fans[row]], out[row]
            )  # fmt: skip
            continue
        if out.shape[1] > terms.shape[0] + caps.shape[0]:
            steps = 1
            for level in range(chains.shape[1]):
                steps *= chains[row, level]
            out[row, terms.shape[0] + caps.shape[0]] = steps
        for term in range(terms.shape[0]):
            out[row, term] = whole
            if terms[term, 1] >= 0 and not relevant(terms[term, 0], dim):
                kept, mask = bounds[row, terms[term, 1]], spared[run_of_term[term]]
                for level in range(chains.shape[1]):
                    if mask >> (8 * level + dim) & 1:
                        kept *= chains[row, level]
                out[row, term] = whole // kept
        for cap in range(caps.shape[0]):
            out[row, terms.shape[0] + cap] = bounds[row, caps[cap, 0]] if relevant(caps[cap, 1], dim) else 1


@kernel
def input_lines(layer, p, r, slot, child, row, other, chain_p, chain_r, at_p, at_r, space):  # type: ignore[no-untyped-def]
    """Lines (columns or rows) of inputs that enter tiles at `child` over all instances, for one pair of chains.

    `slot` is the loop whose window slides over the tile's edge, -1 for none; `row` and `other` say which chains of p and r.
    """
    stride, dilation = layer[p + 5], layer[r + 5]
    inner_p, inner_r = (at_p[row, child], at_r[other, child]) if child >= 0 else (1, 1)
    width = (inner_p - 1) * stride + (inner_r - 1) * dilation + 1
    outside = (layer[p] // inner_p) * (layer[r] // inner_r)
    if slot < 0:
        return width * outside
    level = slot >> 3
    if slot & 7 == p:
        steps, step = chain_p[row, level], stride * space[level, 0] * (at_p[row, level - 1] if level else 1)
    else:
        steps, step = chain_r[other, level], dilation * space[level, 1] * (at_r[other, level - 1] if level else 1)
    return (width + (steps - 1) * min(step, width)) * (outside // steps)


@kernel
def lines_shared(layer, p, r, child, parent, row, other, at_p, at_r, space, lines):  # type: ignore[no-untyped-def]
    """Of `lines` that enter tiles, how many the parent reads: children whose lines are the same share one access."""
    for level in range(child + 1, parent + 1):
        across, down = space[level, 0], space[level, 1]
        if across > 1 and down > 1:
            inner_p, inner_r = (at_p[row, level - 1], at_r[other, level - 1]) if level else (1, 1)
            apart = distinct_offsets(across, layer[p + 5] * inner_p, down, layer[r + 5] * inner_r)
            lines = lines // (across * down) * apart
    return lines


@kernel
def overflows(caps, machine, terms, values, row):  # type: ignore[no-untyped-def]
    """Tell whether the caps in a row of `values` (first `terms` terms) leave a level no room."""
    level, need = -1, 0.0
    for cap in range(caps.shape[0]):
        if caps[cap, 0] != level:
            level, need = caps[cap, 0], 0.0
        need += values[row, terms + cap] * machine[level, WIDTH + caps[cap, 1]]
        if need > machine[level, CAPACITY]:
            return True
    return False


@kernel
def move_row(values, factors, source, target):  # type: ignore[no-untyped-def]
    """Copy one row over another."""
    for column in range(values.shape[1]):
        values[target, column] = values[source, column]
    for level in range(factors.shape[1]):
        factors[target, level, 0] = factors[source, level, 0]
        factors[target, level, 1] = factors[source, level, 1]


@kernel
def keep_best(values, factors, first, used, columns):  # type: ignore[no-untyped-def]
    """Insert row `used` into the rows from `first`, which dominate one another nowhere; return the new end.

    Uneven rows are bounds only (marked in `factors`): they can be dropped for another row, but none for them.
    """
    row = first
    end = used
    mark = factors.shape[1] - 1
    exact = factors[used, mark, 1] == 0
    while row < end:
        lower, higher = False, False
        for place in range(columns.shape[0]):
            new, old = values[used, columns[place]], values[row, columns[place]]
            lower |= new < old
            higher |= new > old
            if lower and higher:
                break
        if not lower and factors[row, mark, 1] == 0:  # an equal or better one is there
            return end
        if not higher and exact:  # the new one replaces it
            end -= 1
            move_row(values, factors, end, row)
            continue
        row += 1
    if end < used:
        move_row(values, factors, used, end)
    return end + 1


@kernel
def live_columns(question, one, two):  # type: ignore[no-untyped-def]
    """Columns in which the rows of a group can differ."""
    terms, caps = question.terms, question.caps
    if question.width > terms.shape[0] + caps.shape[0]:
        return np.arange(question.width)
    out, count = np.empty(terms.shape[0] + caps.shape[0], dtype=np.int64), 0
    for column in range(terms.shape[0] + caps.shape[0]):
        is_term = column < terms.shape[0]
        dataspace = terms[column, 0] if is_term else caps[column - terms.shape[0], 1]
        if two >= 0:
            alive = True
        elif is_term:
            alive = terms[column, 1] >= 0 and not relevant(dataspace, one)
        else:
            alive = relevant(dataspace, one)
        if alive:
            out[count] = column
            count += 1
    return out[:count].copy()


@kernel
def room_for(tables, rows):  # type: ignore[no-untyped-def]
    """Return `tables` with room for so many more rows."""
    used = tables.used[0]
    if used + rows <= tables.values.shape[0]:
        return tables
    size = max(2 * tables.values.shape[0], used + rows)
    values = np.empty((size, tables.values.shape[1]), dtype=np.float64)
    factors = np.empty((size, tables.factors.shape[1], 2), dtype=np.int32)
    values[:used] = tables.values[:used]
    factors[:used] = tables.factors[:used]
    return Tables(
        tables.signatures, tables.signature_count, tables.key_spared, tables.key_halo, tables.key_ones, tables.key_of,
        tables.relaxed, tables.first, tables.count, tables.least, values, factors, tables.used,
    )  # fmt: skip


@kernel
def chains_in(question, runs, tables, group, key, signature, member):  # type: ignore[no-untyped-def]
    """Return (chains, extents, fans) of one dim of a group: int64 (n, L), (n, L), (n,).

    `fans` is the level of the array over which a chain is spread unevenly, -1 where all factors divide.
    """
    dim, partner = question.groups[group, member], question.groups[group, 1 - member]
    ones = tables.key_ones[group, key]
    both = tables.signatures[group, signature]
    space = both[:, member].copy()
    useful = useful_slots(
        question.layer, question.free, question.most, question.fixed, question.spreads, question.uneven, question.caps,
        tables.key_spared[group, key], tables.key_halo[group, key], ones, runs, dim, partner,
    )  # fmt: skip
    levels, bound, lanes = space.shape[0], question.layer[dim], 1
    if bound == 1:  # rules on a dim that the layer does not have do not count
        alone = np.ones((1, levels), dtype=np.int64)
        return alone, alone, np.full(1, -1)
    fan = -1
    for level in range(levels):
        lanes *= space[level]
        if question.uneven[level] and space[level] > 1 and both[level, 0] * both[level, 1] == space[level]:
            fan = level
    if bound % lanes == 0:
        chains = chains_of(bound // lanes, useful, question.most, question.fixed, ones, dim)
    else:
        chains = np.empty((0, levels), dtype=np.int64)
    even = chains.shape[0]
    if fan >= 0 and space[fan] == lanes:
        chains = np.concatenate((chains, uneven_chains(question, useful, ones, dim, fan, lanes)))
    fans = np.full(chains.shape[0], -1)
    fans[even:] = fan
    return chains, extents(chains, space), fans


@kernel
def window_rows(  # type: ignore[no-untyped-def]
    layer, machine, terms, caps, run_of_term, halo, columns, p, r, mine, theirs, chain_p, chain_r, at_p, at_r, fan_p, fan_r,
    space, values, factors, first,
):  # fmt: skip
    """Fill the rows from `first` with all pairs of chains of two dims that share a window; return the end.

    At levels where the window's dims may change places, both ways are tried: a row each.
    """
    levels, number, end = chain_p.shape[1], terms.shape[0], first
    swappable = 0
    for run in range(halo.shape[0]):
        if halo[run] >= EITHER:
            swappable |= 1 << ((halo[run] & 63) >> 3)
    for row in range(chain_p.shape[0]):
        for other in range(chain_r.shape[0]):
            if fan_p[row] >= 0 and fan_r[other] >= 0:  # one of a window's dims may be uneven, not both
                continue
            swap = swappable
            while swap >= 0:
                for column in range(values.shape[1]):
                    values[end, column] = mine[row, column] * theirs[other, column]
                for term in range(number):
                    if terms[term, 0] != INPUTS:
                        continue
                    slot, child = halo[run_of_term[term]] if run_of_term[term] >= 0 else -1, terms[term, 1]
                    if slot >= EITHER:
                        slot -= EITHER
                        if swap >> (slot >> 3) & 1:
                            slot += r - p
                    if fan_p[row] >= 0:
                        lines = uneven_lines(
                            layer, p, r, fan_p[row], space[fan_p[row], 0], slot, child, row, other, chain_p, chain_r,
                            at_p, at_r, space[:, 1],
                        )  # fmt: skip
                    elif fan_r[other] >= 0:
                        lines = uneven_lines(
                            layer, r, p, fan_r[other], space[fan_r[other], 1], slot, child, other, row, chain_r, chain_p,
                            at_r, at_p, space[:, 0],
                        )  # fmt: skip
                    else:
                        lines = input_lines(layer, p, r, slot, child, row, other, chain_p, chain_r, at_p, at_r, space)
                    if terms[term, 3] == ACCESS:
                        lines = lines_shared(
                            layer, p, r, child, terms[term, 2], row, other, at_p, at_r, space, lines
                        )  # fmt: skip
                    values[end, term] = lines
                for cap in range(caps.shape[0]):
                    if caps[cap, 1] == INPUTS:
                        inner_p = min(at_p[row, caps[cap, 0]], layer[p])
                        inner_r = min(at_r[other, caps[cap, 0]], layer[r])
                        values[end, number + cap] = (inner_p - 1) * layer[p + 5] + (inner_r - 1) * layer[r + 5] + 1
                if not overflows(caps, machine, number, values, end):
                    for level in range(levels):
                        factors[end, level, 0], factors[end, level, 1] = chain_p[row, level], chain_r[other, level]
                    factors[end, levels, 0], factors[end, levels, 1] = swap, max(fan_p[row], fan_r[other]) >= 0
                    end = keep_best(values, factors, first, end, columns)
                swap = (swap - 1) & swappable if swap else -1
    return end


@kernel
def single_rows(machine, terms, caps, columns, mine, chains, fans, values, factors, first):  # type: ignore[no-untyped-def]
    """Fill the rows from `first` with all chains of a dim that is its group's only one; return the end."""
    levels, end = chains.shape[1], first
    for row in range(chains.shape[0]):
        for column in range(values.shape[1]):
            values[end, column] = mine[row, column]
        if not overflows(caps, machine, terms.shape[0], values, end):
            for level in range(levels):
                factors[end, level, 0], factors[end, level, 1] = chains[row, level], 1
            factors[end, levels, 0], factors[end, levels, 1] = 0, fans[row] >= 0
            end = keep_best(values, factors, first, end, columns)
    return end


@kernel
def open_choices(halo):  # type: ignore[no-untyped-def]
    """At how many levels at most the dims of a window may change places."""
    count = 0
    for run in range(halo.shape[0]):
        count += halo[run] >= EITHER
    return count


@kernel
def make_table(question, runs, run_of_term, tables, group, key, signature):  # type: ignore[no-untyped-def]
    """Fill one table; return `tables` (its row storage may have moved)."""
    one, two = question.groups[group, 0], question.groups[group, 1]
    layer, machine, terms, caps = question.layer, question.machine, question.terms, question.caps
    spared, halo = tables.key_spared[group, key], tables.key_halo[group, key]
    space = tables.signatures[group, signature]
    width = tables.values.shape[1]
    columns = live_columns(question, one, two)
    first = tables.used[0]
    chains, bounds, fans = chains_in(question, runs, tables, group, key, signature, 0)
    mine = np.empty((chains.shape[0], width))
    fill_columns(layer, terms, caps, run_of_term, spared, one, chains, bounds, fans, space[:, 0], mine)
    if two < 0:
        tables = room_for(tables, chains.shape[0] + 1)
        end = single_rows(machine, terms, caps, columns, mine, chains, fans, tables.values, tables.factors, first)
    else:
        others, beyond, their_fans = chains_in(question, runs, tables, group, key, signature, 1)
        theirs = np.empty((others.shape[0], width))
        fill_columns(layer, terms, caps, run_of_term, spared, two, others, beyond, their_fans, space[:, 1], theirs)
        tables = room_for(tables, chains.shape[0] * others.shape[0] * (1 << open_choices(halo)) + 1)
        end = window_rows(
            layer, machine, terms, caps, run_of_term, halo, columns, one, two, mine, theirs, chains, others, bounds,
            beyond, fans, their_fans, space, tables.values, tables.factors, first,
        )  # fmt: skip
    tables.first[group, key, signature] = first
    tables.count[group, key, signature] = end - first
    tables.used[0] = end
    values, least = tables.values, tables.least[group, key, signature]
    for row in range(first, end):
        for column in range(width):
            least[column] = min(least[column], values[row, column])
    return tables


@kernel
def keys_of(question, spared, halo, ones):  # type: ignore[no-untyped-def]
    """Return (key_spared, key_halo, key_ones, key_of): what each class says of each group, each thing once."""
    groups, classes, runs = question.groups, spared.shape[0], spared.shape[1]
    levels = question.free.shape[0]
    key_spared = np.zeros((groups.shape[0], classes, runs), dtype=np.int64)
    key_halo = np.full((groups.shape[0], classes, runs), -1, dtype=np.int64)
    key_ones = np.zeros((groups.shape[0], classes), dtype=np.int64)
    key_of = np.empty((classes, groups.shape[0]), dtype=np.int64)
    most = 1
    for group in range(groups.shape[0]):
        one, two = groups[group, 0], groups[group, 1]
        mask = 0
        for level in range(levels):
            mask |= 1 << (8 * level + one)
            if two >= 0:
                mask |= 1 << (8 * level + two)
        found = 0
        for row in range(classes):
            for run in range(runs):
                key_spared[group, found, run] = spared[row, run] & mask
                end = halo[row, run]
                key_halo[group, found, run] = end if end >= 0 and mask >> (end & 63) & 1 else -1
            key_ones[group, found] = ones[row] & mask
            match = found
            for key in range(found):
                same = key_ones[group, key] == key_ones[group, found]
                for run in range(runs):
                    same &= key_spared[group, key, run] == key_spared[group, found, run]
                    same &= key_halo[group, key, run] == key_halo[group, found, run]
                if same:
                    match = key
                    break
            key_of[row, group] = match
            if match == found:
                found += 1
        most = max(most, found)
    return key_spared[:, :most].copy(), key_halo[:, :most].copy(), key_ones[:, :most].copy(), key_of


@kernel
def new_tables(question, signatures, signature_count, keys, runs):  # type: ignore[no-untyped-def]
    """Return empty `Tables`."""
    key_spared, key_halo, key_ones, key_of = keys
    width = question.width
    shape = (question.groups.shape[0], key_ones.shape[1], signatures.shape[1])
    return Tables(
        signatures, signature_count, key_spared, key_halo, key_ones, key_of,
        np.full((shape[0], shape[1], shape[2], question.terms.shape[0]), np.nan),
        np.zeros(shape, dtype=np.int64), np.full(shape, -1, dtype=np.int64),
        np.full((shape[0], shape[1], shape[2], width), np.inf), np.empty((4096, width), dtype=np.float64),
        np.empty((4096, question.free.shape[0] + 1, 2), dtype=np.int32), np.zeros(1, dtype=np.int64),
    )  # fmt: skip
