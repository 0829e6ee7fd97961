"""Commands about networks with weights: train a supernet, cut networks out of it, write them for others."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cosearch.results import Study
    from cosearch.supernet.network_module import NetworkModule
    from cosearch.supernet.train import Progress

app = typer.Typer()

SpaceOption = Annotated[
    str | None, typer.Option("--space", help="A name of `cosearch spaces list`; needed for a published supernet.")
]
DataOption = Annotated[
    str | None,
    typer.Option("--data", help="digits, or a folder with train and val, in each one folder of images per class."),
]
OutOption = Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")]


@app.command(epilog="Example: cosearch train --space digits --schedule digits --out runs/supernet")
def train(
    out: Annotated[Path, typer.Option(help="Folder of the training.")],
    space: Annotated[str | None, typer.Option(help="A name of `cosearch spaces list`; digits if left out.")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="digits, or a folder with train and val, one folder of images per class; digits if left out."
        ),
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help="digits, digits-minute, ofa-imagenet, or a FILE.yaml; digits if left out.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda; several CUDA devices through torchrun.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="Of the processor; small networks are fastest on one.")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images.")] = 0,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the schedule's own.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last epoch of the folder's training.")
    ] = False,
) -> None:
    """Train a supernet by progressive shrinking: weights that all networks of a space share."""
    from cosearch.spaces import load_space
    from cosearch.supernet.data import load_data
    from cosearch.supernet.device import find_device
    from cosearch.supernet.schedule import Schedule, load_schedule
    from cosearch.supernet.train import train_supernet
    from cosearch.supernet.training_files import TrainingFolder

    kept = TrainingFolder(out).read()["training"] if resume else {}
    where = find_device(device)
    found = load_space(space or kept.get("space", "digits"))
    same = resume and schedule is None
    asked = Schedule.model_validate(kept["schedule"]) if same else load_schedule(schedule or "digits")
    if seed is not None:
        asked = asked.model_copy(update={"seed": seed})
    channels = found.network(found.canonical((found.choices_per_knob - 1)[None])[0]).input.channels
    images = load_data(data or kept.get("data", "digits"), channels, workers)

    def run(watch: Callable[[Progress], None] | None) -> list[Progress]:
        seen: list[Progress] = []

        def note(progress: Progress) -> None:
            if progress.largest_top1_percent is not None:
                seen.append(progress)
            if watch is not None:
                watch(progress)

        train_supernet(found, images, asked, out, device=where, cpu_threads=threads, resume=resume, on_epoch=note)
        return seen

    judged = _watched(run, asked.epochs, out)
    if int(os.environ.get("RANK", "0")) == 0:
        _tell_training(judged, found.name, out, images.validation_images)


@app.command(epilog="Example: cosearch extract runs/supernet --network largest -o runs/network")
def extract(
    supernet: Annotated[Path, typer.Argument(help="Folder of a training, or a file with a supernet.")],
    network: Annotated[
        str,
        typer.Option(help="largest, smallest, JSON such as '{\"depth_1\": 2}', genes such as 0,2,1, or RUN:ID."),
    ],
    output: OutOption,
    space: SpaceOption = None,
    data: DataOption = None,
    images: Annotated[int, typer.Option(min=1, help="Training images for the batch-norm statistics.")] = 2000,
) -> None:
    """Cut one network out of a supernet, with batch-norm statistics of its own: network.json and weights.pt."""
    from cosearch.spaces import load_space
    from cosearch.supernet.export import save_module
    from cosearch.supernet.judge import judge, subnetwork
    from cosearch.supernet.sources import calibration_data, open_supernet, read_genome

    found = open_supernet(supernet, None if space is None else load_space(space))
    genome = read_genome(found.space, network)
    judged_by = calibration_data(found, data)
    module = subnetwork(found, genome, judged_by, images)
    score = judge(module, judged_by)
    paths = save_module(module, output)
    typer.echo(f"{module.network}")
    typer.echo(
        f"top-1 {score.top1_percent:.2f} % of {judged_by.validation_images} validation images ({judged_by.name}), with shared "
        "weights, not trained further"
    )
    typer.echo("wrote " + ", ".join(map(str, paths)))


@app.command(epilog="Example: cosearch export runs/first 1742 -o runs/pair --supernet runs/supernet")
def export(
    source: Annotated[Path, typer.Argument(help="Folder of a search, or one that `cosearch extract` wrote.")],
    output: OutOption,
    pair_id: Annotated[int | None, typer.Argument(metavar="[ID]", help="A pair's id, of a search.")] = None,
    supernet: Annotated[
        Path | None, typer.Option(help="Weights for a search's network: folder of a training, or a file.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Write a network for other programs: JSON, torch (.pt2), ONNX; of a search's pair also the target's YAML."""
    if pair_id is None:
        from cosearch.supernet.export import NETWORK, load_module

        if not (source / NETWORK).exists():
            raise _nothing_to_export(source)
        _write_programs(load_module(source), output)
        return
    from cosearch.results import Study

    study = Study.open(source)
    _write_pair(study, pair_id, output)
    if supernet is None:
        typer.echo(
            f"no weights: a search records structures. {output}/network.json has the network's; for torch and ONNX name a trained "
            "supernet with --supernet"
        )
        return
    from cosearch.results import specification_of
    from cosearch.supernet.judge import subnetwork
    from cosearch.supernet.sources import calibration_data, genome_of_pair, open_supernet

    space = None if study.config["fixed"] == "network" else specification_of(study).networks
    found = open_supernet(supernet, space)
    genome = genome_of_pair(found.space, source, pair_id)
    _write_programs(subnetwork(found, genome, calibration_data(found, data)), output)


def _nothing_to_export(source: Path) -> Exception:
    from cosearch.archive import FILE_NAME
    from cosearch.errors import RunError

    if (source / FILE_NAME).exists():
        return RunError(
            f"{source} is a search; name one of its pairs: cosearch export {source} ID (`cosearch front {source}`)"
        )
    return RunError(f"{source}: neither a search nor a folder that `cosearch extract` wrote (network.json is missing)")


def _write_pair(study: Study, pair_id: int, output: Path) -> None:
    """Write the network and the target of a recorded pair."""
    import numpy as np

    from accel_models.description import to_yaml
    from accel_models.network_file import network_to_json
    from cosearch.results import specification_of

    pair, space = study.archive.pair(pair_id), specification_of(study).space()
    networks, hardware = space.split(np.array(pair.genome, dtype=np.int64))
    output.mkdir(parents=True, exist_ok=True)
    network, target = space.networks.network(networks), space.hardware.target(hardware)
    files = {"network.json": network_to_json(network) + "\n", "target.yaml": to_yaml(target)}
    for name, text in files.items():
        (output / name).write_text(text, encoding="utf-8")
    typer.echo(f"{network}")
    typer.echo("wrote " + ", ".join(str(output / name) for name in files))


def _write_programs(module: NetworkModule, output: Path) -> None:
    from cosearch.supernet.export import ONNX, PROGRAM, onnx_difference, save_module, to_onnx, to_torch

    paths = [*save_module(module, output), to_torch(module, output / PROGRAM), to_onnx(module, output / ONNX)]
    typer.echo("wrote " + ", ".join(map(str, paths)))
    difference = onnx_difference(module, output / ONNX)
    if difference is None:
        typer.echo("not compared: onnxruntime is not installed (pip install 'cosearch[onnx]')")
    else:
        typer.echo(f"onnxruntime's logits differ from torch's by {difference:.1e} of their standard deviation at most")


def _watched(run: Callable[..., list[Progress]], epochs: int, folder: Path) -> list[Progress]:
    """Run a training with a progress line on a terminal (on standard error), quiet in a pipe."""
    try:
        return _with_progress(run, epochs) if sys.stderr.isatty() else run(None)
    except KeyboardInterrupt:
        typer.echo(
            f"stopped; all finished epochs are kept. Go on with: cosearch train --out {folder} --resume", err=True
        )
        raise typer.Exit(130) from None


def _with_progress(run: Callable[..., list[Progress]], epochs: int) -> list[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("training", total=epochs)

        def watch(state: Progress) -> None:
            bar.update(task, completed=state.epoch, description=f"{state.phase}, loss {state.loss:.3f}")

        return run(watch)


def _tell_training(judged: list[Progress], space: str, out: Path, images: int) -> None:
    if judged:
        last = judged[-1]
        typer.echo(
            f"supernet of {space} after {last.epochs} epochs, top-1 of {images} validation images: largest network "
            f"{last.largest_top1_percent:.2f} %, smallest {last.smallest_top1_percent:.2f} %"
        )
    typer.echo(f"recorded in {out}; next: cosearch extract {out} --network largest -o DIR")
