"""What was read out of the public OFA supernets (mit-han-lab/once-for-all f03b267), for the tests of their spaces."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path


def parameters(shared_data: Path, supernet: str) -> int:
    """Parameters of a checkpoint, without running statistics and kernel transformations, which no sub-network keeps."""
    shapes = json.loads(gzip.decompress((shared_data / "ofa_reference" / "state_dict_names.json.gz").read_bytes()))
    left_out = ("running_mean", "running_var", "num_batches_tracked", "_matrix")
    return sum(math.prod(shape) for name, shape in shapes[supernet].items() if not name.endswith(left_out))


def extracted(shared_data: Path, supernet: str) -> list[dict]:
    """Return sub-networks that the reference code extracted: its settings, and `subnet_params`."""
    cases = json.loads((shared_data / "ofa_reference" / "logits.json").read_text())["cases"]
    return [case for case in cases if case["supernet"] == supernet]


def mobile_values(case: dict) -> dict[str, int]:
    """Return the knobs of an extracted MobileNetV3 or ProxylessNAS network; parameters do not depend on its resolution."""
    numbered = {"depth": case["d"], "kernel": case["ks"], "expand": case["e"]}
    return {f"{kind}_{n}": value for kind, values in numbered.items() for n, value in enumerate(values, 1)}
