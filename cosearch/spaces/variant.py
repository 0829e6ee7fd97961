"""How the name of a sub-space is read: words behind the space's name, such as ``w50-r144``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cosearch.errors import SpaceError


def read_variant(space: str, text: str, known: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    """Return the numbers of each word, none for a word that is a flag.

    Parameters
    ----------
    space
        Name of the space, for messages.
    text
        Words joined by ``-``: letters, and behind them a whole number or several with commas between.
    known
        An example of every word that there is, and what it means: ``{"w50": "width in %", "mix": "with feature mix"}``.
        An example without a number is a flag, one with a comma may have several numbers.

    Raises
    ------
    SpaceError
        If a word is not known, stands twice, or has numbers where it has none or none where it needs one.
    """
    examples = {re.match(r"[a-z]+", example)[0]: example for example in known}  # type: ignore[index]
    found: dict[str, tuple[int, ...]] = {}
    for word in text.split("-"):
        read = re.fullmatch(r"([a-z]+)(\d{1,9}(?:,\d{1,9})*)?", word)
        example = examples.get(read[1], "") if read else ""
        numbers = tuple(map(int, read[2].split(","))) if read and read[2] else ()
        fits = bool(numbers) == bool(re.search(r"\d", example)) and (len(numbers) < 2 or "," in example)
        if not read or not example or read[1] in found or not fits:
            words = ", ".join(f"{each} ({meaning})" for each, meaning in known.items())
            raise SpaceError(f"{space}@{text}: cannot read {word!r}; words, each at most once, joined by -: {words}")
        found[read[1]] = numbers
    return found
