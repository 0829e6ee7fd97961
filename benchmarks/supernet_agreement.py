"""Do our supernets compute what Once-for-All's do? And is a sub-network what the cost model says it is?

Two parts:

* Recorded logits: weights filled by the formula of the recording, loaded through the loader of published checkpoints,
  each recorded configuration run on its recorded image. Equal means: within 1e-4 of the logits' standard deviation, in
  every recorded logit, their mean and deviation; and as many parameters.
* Random configurations of every supernet: the extracted sub-network's logits against the supernet's own (equal within
  1e-5 of their deviation), and its multiply-accumulates and parameters, counted by torch, against the space's.

``python -m benchmarks.supernet_agreement LOGITS.json [--names FILE] [--configurations 200] [--json FILE]``
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch.utils.flop_counter import FlopCounterMode

from accel_models.errors import unknown_name
from benchmarks.command import run
from cosearch.errors import CosearchError
from cosearch.space import Genomes
from cosearch.spaces import load_space
from cosearch.spaces.elastic import ElasticSpace
from cosearch.supernet.checkpoint import load_published
from cosearch.supernet.network_module import NetworkModule
from cosearch.supernet.supernet import Supernet, extract

NEEDED = frozenset({"supernet", "e", "d", "resolution", "logits", "mean", "std", "subnet_params"})
TOLERANCE = 1e-4
EXTRACTED_TOLERANCE = 1e-5
PIXELS = 64

SPACES = {
    "ofa_mbv3_d234_e346_k357_w1.0": "ofa-mobilenet-v3",
    "ofa_mbv3_d234_e346_k357_w1.2": "ofa-mobilenet-v3-w1.2",
    "ofa_proxyless_d234_e346_k357_w1.3": "ofa-proxyless",
    "ofa_resnet50": "ofa-resnet50",
}
"""Published supernets by the name of their checkpoint: which space's they are."""


def formula_weights(shapes: Mapping[str, list[int]]) -> dict[str, torch.Tensor]:
    """Return tensors by name, drawn as the recording says: from a generator seeded with the checksum of the name."""
    return {name: torch.from_numpy(_formula(name, tuple(shape))) for name, shape in shapes.items()}


def _formula(name: str, shape: tuple[int, ...]) -> np.ndarray:
    draws = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("running_var"):
        made = 1 + 0.1 * np.abs(draws)
    elif name.endswith("running_mean"):
        made = 0.1 * draws
    elif name.endswith("_matrix"):
        made = np.eye(shape[0]) + 0.05 * draws
    elif len(shape) < 2:
        made = 1 + 0.1 * draws if name.endswith("weight") else 0.1 * draws
    else:
        made = draws * np.sqrt(2 / np.prod(shape[1:]))
    return np.asarray(made, dtype=np.float32)


def recorded_genome(space: ElasticSpace, case: Mapping[str, Any]) -> Genomes:
    """Return the genome of a configuration in Once-for-All's own terms.

    `ks` and `e` hold one entry per block. `d` holds the depths of stages; of the ResNet it holds, first for the stem
    (2: with the convolution that can be left out), what is added to the least depth. `w` indexes the widths: of the
    stem's inside, the stem, the stages.
    """
    values: dict[str, Any] = {}
    depths = case["d"]
    if "w" in case:
        stem, *stages = case["w"]
        values |= {"stem_depth": 3 if depths[0] == 2 else 2, "stem_mid_width": (65, 65, 100)[stem]}
        values |= {"stem_width": space.widths[stages[0]]}
        values |= {f"width_{number}": space.widths[index] for number, index in enumerate(stages[1:], 1)}
        depths = [added + choices[0] for added, choices in zip(depths[1:], space.depths, strict=True)]
    depths = [*depths, *(choices[0] for choices in space.depths[len(depths) :])]
    values |= {f"depth_{number}": depth for number, depth in enumerate(depths, 1)}
    values |= {f"kernel_{number}": kernel for number, kernel in enumerate(case.get("ks", ()), 1)}
    expands = [round(e * 100) if isinstance(e, float) and e < 1 else int(e) for e in case["e"]]
    values |= {f"expand_{number}": expand for number, expand in enumerate(expands, 1)}
    return space.genome(values)


def recorded_image(resolution: int) -> torch.Tensor:
    """Return the images that a recorded configuration saw, (2, 3, resolution, resolution)."""
    draws = np.random.RandomState(resolution).standard_normal((2, 3, resolution, resolution))
    return torch.from_numpy(draws.astype(np.float32))


@torch.no_grad()
def compare_case(supernet: Supernet, case: Mapping[str, Any]) -> dict[str, Any]:
    """Return how far our logits are from the recorded ones, in their standard deviations."""
    space = supernet.space
    assert isinstance(space, ElasticSpace)
    genome = recorded_genome(space, case)
    logits = supernet(recorded_image(case["resolution"]), genome).double()
    ours = np.array([*logits[0, : len(case["logits"])].tolist(), logits.mean().item(), logits.std().item()])
    theirs = np.array([*case["logits"], case["mean"], case["std"]])
    params = sum(tensor.numel() for tensor in extract(supernet, genome).parameters())
    return {
        "supernet": case["supernet"],
        "largest_difference": float(np.abs(ours - theirs).max() / case["std"]),
        "params": params,
        "recorded_params": case["subnet_params"],
        "space_params": space.network(genome).params,
    }


@torch.no_grad()
def compare_extracted(supernet: Supernet, count: int, seed: int = 0) -> dict[str, Any]:
    """Return how many of `count` random configurations are the same network extracted, in the supernet and in the space."""
    space = supernet.space
    images = torch.randn(2, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(seed))
    same_logits = same_macs = same_params = 0
    largest = 0.0
    for genome in space.sample_genomes(np.random.default_rng(seed), count):
        module, network = extract(supernet, genome), space.network(genome)
        whole = supernet(images, genome)
        difference = ((module(images) - whole).abs().max() / whole.std()).item()
        largest = max(largest, difference)
        same_logits += difference <= EXTRACTED_TOLERANCE
        same_macs += counted_macs(module) == network.macs
        same_params += sum(tensor.numel() for tensor in module.parameters()) == network.params
    return {
        "configurations": count,
        "largest_difference": largest,
        "equal_logits": same_logits,
        "equal_macs": same_macs,
        "equal_params": same_params,
    }


def counted_macs(module: NetworkModule) -> int:
    """Return the multiply-accumulates that torch counts for one image of the network's own size, without computing."""
    shape = module.network.input
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        NetworkModule(module.network).eval()(torch.empty(1, shape.channels, shape.height, shape.width))
    return counter.get_total_flops() // 2


def main(
    logits: Annotated[Path, typer.Argument(help="JSON of recorded logits, with the formula of the weights")],
    names: Annotated[
        Path | None, typer.Option(help="names and shapes of the published tensors; default: beside it")
    ] = None,
    configurations: Annotated[int, typer.Option(min=0, help="random configurations per supernet")] = 200,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures here")] = None,
) -> None:
    """Compare supernets with recorded ones, and extracted sub-networks with both supernet and space."""
    cases = _read(logits, "cases")
    shapes = _read(names or logits.parent / "state_dict_names.json.gz")
    by_supernet: dict[str, list[Any]] = {name: [] for name in SPACES if name in shapes}
    for number, case in enumerate(cases, 1):
        absent = NEEDED - set(case)
        if absent:
            raise CosearchError(f"{logits}: case {number} lacks {', '.join(sorted(absent))}")
        if case["supernet"] not in by_supernet:
            raise CosearchError(f"{logits}: " + unknown_name("supernet", str(case["supernet"]), by_supernet))
        by_supernet[case["supernet"]].append(case)
    rows: list[dict[str, Any]] = []
    extracted: dict[str, dict[str, Any]] = {}
    differences: dict[str, float] = {}
    for name, its_cases in by_supernet.items():
        supernet = load_published(formula_weights(shapes[name]), load_space(SPACES[name])).eval()
        rows += (mine := [compare_case(supernet, case) for case in its_cases])
        extracted[name] = compare_extracted(supernet, configurations)
        equal = sum(map(agrees, mine))
        differences[name] = max((row["largest_difference"] for row in mine), default=0.0)
        typer.echo(
            f"{name}: {equal} of {len(mine)} recorded configurations equal, largest difference {differences[name]:.1e} std"
        )
        typer.echo(
            "  extracted: {equal_logits} of {configurations} equal logits (largest difference {largest_difference:.1e} "
            "std), {equal_macs} equal MACs, {equal_params} equal parameters".format(**extracted[name])
        )
    summary = {
        "cases": len(rows),
        "equal": sum(map(agrees, rows)),
        "largest_difference": differences,
        "extracted": extracted,
        "rows": rows,
    }
    typer.echo(f"{summary['equal']} of {summary['cases']} recorded configurations are equal")
    if json_file is not None:
        json_file.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


def agrees(row: Mapping[str, Any]) -> bool:
    """Tell whether a recorded configuration was met, in logits and in parameters."""
    same = row["params"] == row["recorded_params"] == row["space_params"]
    return bool(row["largest_difference"] <= TOLERANCE and same)


def _read(path: Path, key: str | None = None) -> Any:
    try:
        raw = path.read_bytes()
        whole = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
        return whole if key is None else whole[key]
    except (ValueError, KeyError, TypeError, EOFError) as error:
        raise CosearchError(f"{path}: not the JSON that is expected ({error!r})") from None


if __name__ == "__main__":
    run(main)
