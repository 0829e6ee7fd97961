"""What a search with exact answers has proven, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosearch.results import specification_of
from cosearch.strategies.exact import every_machine

if TYPE_CHECKING:
    from cosearch.results import Study


def proven(study: Study) -> list[str]:
    """Return what is known for sure of a recorded front; nothing where no machine was known as a whole.

    Raises
    ------
    UnknownNameError, RunError
        If the space that was searched is not known here (see :func:`cosearch.results.specification_of`).
    """
    in_full: dict[tuple[int, ...], bool] = {}
    for answer in study.archive.fronts():
        if answer.complete and answer.machine is not None:
            told_all = answer.most is None or len(answer.pairs) < answer.most
            in_full[answer.machine] = in_full.get(answer.machine, False) or told_all
    if not in_full:
        return []
    space = specification_of(study).space()
    knobs = len(space.networks.knobs)
    on_front = {pair.genome[knobs:] for pair in study.front_pairs()}
    machines = "the machine" if len(in_full) == 1 else f"each of {len(in_full):,} machines"
    size = space.networks.size
    lines = [
        f"all {size:,} networks were weighed on {machines}"
        if size < 1e6
        else f"all {size:.2g} networks were weighed on {machines}"
    ]
    every = every_machine(space.hardware)
    all_asked = every is not None and len(every) == len(in_full)
    if all_asked and all(in_full.values()):
        lines.append(
            "these are all machines there are: the front is the true one for this accuracy estimate and these mappings"
        )
    elif all_asked:
        lines.append("these are all machines there are; of the true front the pairs recorded are spread over it")
    else:
        whole = sum(in_full.get(machine, False) for machine in on_front)
        lines.append(
            f"{len(on_front)} machines are on the front; of {whole} of them every network worth having is recorded, of the "
            "others a choice spread over all"
        )
    return lines
