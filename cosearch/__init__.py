"""Joint search of neural networks and the accelerators that run them.

The names below are loaded at first use, so that ``import cosearch`` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "CosearchError": "cosearch.errors",
    "Study": "cosearch.results",
    "load_space": "cosearch.spaces",
    "resume": "cosearch.study",
    "search": "cosearch.study",
}

__all__ = ["CosearchError", "Study", "__version__", "load_space", "resume", "search"]

if TYPE_CHECKING:
    from cosearch.errors import CosearchError as CosearchError
    from cosearch.results import Study as Study
    from cosearch.spaces import load_space as load_space
    from cosearch.study import resume as resume
    from cosearch.study import search as search


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'cosearch' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
