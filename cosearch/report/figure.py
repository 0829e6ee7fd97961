"""What all pictures share: colours, the formats they can be written in, and how the same figure gives the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cosearch.errors import CosearchError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
COLOURS = ("#0b6e99", "#c4561b", "#4d7c31", "#7b4fa3", "#a8324a", "#5a5a5a")


def refuse_format(path: str | Path | None) -> None:
    """Raise where a file's ending is none that a picture can be written in.

    Raises
    ------
    CosearchError
        With the endings that are known.
    """
    if path is not None and Path(path).suffix.lower() not in FORMATS:
        raise CosearchError(f"cannot draw {str(path)!r}: the file must end in {', '.join(FORMATS)}")


def write(figure: Figure, path: str | Path) -> None:
    """Write a figure with a fixed date and salt, so that the same figures draw the same bytes.

    Raises
    ------
    CosearchError
        If the file cannot be written.
    """
    from matplotlib import rc_context

    path = Path(path)
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with rc_context({"svg.hashsalt": "cosearch", "svg.fonttype": "none"}):
            figure.savefig(path, dpi=150, metadata=metadata)
    except OSError as error:
        raise CosearchError(f"{path}: cannot be written: {error.strerror or error}") from None
