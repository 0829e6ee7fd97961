"""A network with its weights in files that others read: torch's own, and ONNX.

The number of images in a batch stays free; their size is the network's.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from accel_models.network_file import network_from_json, network_to_json
from cosearch.errors import CheckpointError, TrainingError
from cosearch.supernet.checkpoint import read_tensors
from cosearch.supernet.network_module import NetworkModule
from cosearch.supernet.training_files import write_whole

NETWORK, WEIGHTS, PROGRAM, ONNX = "network.json", "weights.pt", "network.pt2", "network.onnx"
_BATCH = 2


def save_module(module: NetworkModule, folder: str | Path) -> list[Path]:
    """Write a network and its weights: ``network.json``, ``weights.pt`` (tensors by name); return the paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    structure, weights = folder / NETWORK, folder / WEIGHTS
    write_whole(structure, lambda path: path.write_text(network_to_json(module.network) + "\n", encoding="utf-8"))
    state = {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}
    write_whole(weights, lambda path: torch.save(state, path))
    return [structure, weights]


def load_module(folder: str | Path) -> NetworkModule:
    """Return the network that :func:`save_module` wrote, in evaluation mode.

    Raises
    ------
    CheckpointError
        If a file is missing, or the weights are not those of the network.
    WorkloadError
        If the network's file is malformed.
    """
    structure, weights = Path(folder) / NETWORK, Path(folder) / WEIGHTS
    try:
        network = network_from_json(structure.read_text(encoding="utf-8"), str(structure))
    except OSError as error:
        raise CheckpointError(f"{structure}: cannot be read: {error.strerror}") from None
    module = NetworkModule(network)
    try:
        module.load_state_dict(dict(read_tensors(weights)))
    except (RuntimeError, TypeError) as error:
        told = str(error).strip().splitlines()[-1].strip()
        raise CheckpointError(f"{weights}: not the weights of {structure}: {told}") from None
    return module.eval()


def to_torch(module: NetworkModule, path: str | Path) -> Path:
    """Write a network as a program of torch (``torch.export``), which ``torch.export.load(path).module()`` runs."""
    images = example(module)
    with _quiet():
        program = torch.export.export(
            module.eval(), (images,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), strict=False
        )
        write_whole(Path(path), lambda file: _save_program(program, file))
    return Path(path)


def _save_program(program: torch.export.ExportedProgram, path: Path) -> None:
    with path.open("wb") as file:
        torch.export.save(program, file)


def to_onnx(module: NetworkModule, path: str | Path) -> Path:
    """Write a network as ONNX (input ``image``, output ``logits``), checked with ONNX's own checker.

    Raises
    ------
    TrainingError
        If the extra `onnx` is not installed.
    """
    if find_spec("onnx") is None or find_spec("onnxscript") is None:
        raise TrainingError("writing ONNX needs onnx and onnxscript: pip install 'cosearch[onnx]'")
    import onnx

    with _quiet():
        program = torch.onnx.export(
            module.eval(),
            (example(module),),
            dynamo=True,
            verbose=False,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        )
        assert program is not None
        made = program.model_proto
    onnx.checker.check_model(made, full_check=True)
    write_whole(Path(path), lambda file: file.write_bytes(made.SerializeToString()))
    return Path(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what torch's exporter says about its own parts, and about packages that it looks for."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for kind in (DeprecationWarning, FutureWarning, UserWarning):
                warnings.simplefilter("ignore", kind)
            yield
    finally:
        logger.setLevel(level)


def example(module: NetworkModule) -> Tensor:
    """Return images of a network's size, the same ones always."""
    shape = module.network.input
    generator = torch.Generator().manual_seed(0)
    return torch.randn(_BATCH, shape.channels, shape.height, shape.width, generator=generator)


@torch.no_grad()
def onnx_difference(module: NetworkModule, path: str | Path) -> float | None:
    """Return the largest difference between onnxruntime's logits and the network's own, in their standard deviations.

    None where onnxruntime is not installed.
    """
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    images = example(module)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = torch.from_numpy(session.run(None, {"image": images.numpy()})[0])
    wanted = module.eval()(images)
    return float((found - wanted).abs().max() / wanted.std())
