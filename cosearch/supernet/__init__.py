"""Networks that run: any `Network` in torch, supernets with shared weights, their training.

Needs the extra `torch`; whatever imports a module of this package without it gets an error that says so.
"""

from __future__ import annotations

from importlib.util import find_spec

from cosearch.errors import CosearchError


def require_torch() -> None:
    """Refuse to go on without torch.

    Raises
    ------
    CosearchError
        If it is not installed; the message says how to.
    """
    if find_spec("torch") is None:
        raise CosearchError("running and training networks needs torch: pip install 'cosearch[torch]'")


require_torch()
