"""How kernels are compiled and where the compiled code is kept.

numba's own cache looks only at the file a function stands in: after an edit of a helper in another file it would go on
returning the old number. So the folder of compiled code is named after a hash of *all* kernel sources. A cache file that
cannot be read (a killed process, a full disk) is thrown away and made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
import platformdirs

Function = TypeVar("Function", bound=Callable[..., Any])

SOURCES = Path(__file__).parent


@cache
def cache_folder() -> Path:
    """Return the folder of compiled kernels: named by the kernel sources, numba's version, and nothing else.

    ``COSEARCH_CACHE_DIR`` overrides the user's cache folder.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(SOURCES.glob("*.py")):
        digest.update(source.name.encode())
        digest.update(source.read_bytes())
    root = os.environ.get("COSEARCH_CACHE_DIR") or platformdirs.user_cache_dir("cosearch")
    return Path(root) / "kernels" / digest.hexdigest()[:16]


def is_cold() -> bool:
    """Tell whether the exact mapper's kernels are still to be compiled, which takes a minute or two."""
    return not any(cache_folder().rglob("exact.solve*.nbi"))


def kernel(function: Function | None = None, **options: Any) -> Any:
    """Compile a function to machine code at its first call; keep the code for later processes.

    Kernels divide without a zero test (``error_model="numpy"``), keep IEEE order of operations (no fastmath: sums must
    not depend on the compiler) and release the interpreter lock.
    """
    if function is None:
        return lambda inner: kernel(inner, **options)
    if not _can_keep():  # compile in this process; numba would else keep code beside the sources, where it goes stale
        return numba.njit(error_model="numpy", nogil=True, **options)(function)
    config: Any = numba.config
    before = config.CACHE_DIR
    config.CACHE_DIR = str(cache_folder())
    try:
        compiled = numba.njit(cache=True, error_model="numpy", nogil=True, **options)(function)
    finally:
        config.CACHE_DIR = before
    _forgive_damaged_cache(compiled)
    return compiled


@cache
def _can_keep() -> bool:
    """Tell whether files can be made in the folder of compiled kernels."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache_folder()):
            return True
    except OSError:
        return False


def _forgive_damaged_cache(compiled: Any) -> None:
    """Let a cached kernel that cannot be loaded count as absent, and one that cannot be kept (a full disk) as kept."""
    store: Any = getattr(compiled, "_cache", None)
    if not hasattr(store, "load_overload"):
        return
    load, save = store.load_overload, store.save_overload

    def load_or_forget(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        except Exception:  # whatever unpickling a damaged file raises
            with contextlib.suppress(OSError):
                store.flush()
            return None

    def save_or_not(*arguments: Any) -> None:
        with contextlib.suppress(OSError):
            save(*arguments)

    store.load_overload, store.save_overload = load_or_forget, save_or_not
