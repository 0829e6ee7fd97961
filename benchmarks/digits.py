"""Progressive shrinking on scikit-learn's digits, measured: ``python -m benchmarks.digits``.

The supernet of the space `digits` is trained by the schedule `digits`, with one thread. Then:

* *minutes*: processor time of the whole training, the judging at the end of each phase included;
* *largest network*: its top-1 as the teacher (the first phase's end), in the final supernet, and trained alone for as many
  epochs as all phases together. What elastic training costs it is the difference;
* *ranking*: random networks of the whole space (each knob uniform), the largest and the smallest are judged in the
  supernet, without any training, and trained alone from fresh weights, with several seeds. Spearman's correlation between
  both accuracies, its 95 % interval by bootstrap over the networks (10,000 draws), the correlation of their MACs with the
  accuracies alone as the baseline, and the first again among the networks of each resolution, as a larger image alone
  makes any network better. The spread between seeds says how exact the accuracies
  alone are: *reliability* is the correlation between two halves of the seeds.

All accuracies are of the 3,188 disturbed images to judge by (`cosearch.supernet.digits`), with batch-norm statistics from
1,000 training images.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.stats import rankdata

from benchmarks.command import run
from cosearch.evaluate import open_pool
from cosearch.space import Genomes
from cosearch.spaces.digits import Digits

Values = NDArray[np.float64]
ALONE_EPOCHS, ALONE_RATE = 50, 0.1
DRAWS = 10_000


def sampled(count: int, seed: int) -> Genomes:
    """Return the largest, the smallest and random networks, `count` in all: genomes (count, knobs)."""
    space = Digits()
    last = (space.choices_per_knob - 1)[None]
    ends = np.vstack([last, 0 * last])
    drawn = space.sample_genomes(np.random.default_rng(seed), count - len(ends))
    return space.canonical(np.vstack([ends, drawn]))


def shrink(schedule_name: str, seed: int, folder: Path, watch: Callable[[str], None]) -> dict[str, Any]:
    """Train the supernet; return what it took, and the largest network's accuracies in percent."""
    import torch

    from cosearch.supernet.data import load_data
    from cosearch.supernet.schedule import load_schedule
    from cosearch.supernet.train import Progress, train_supernet

    torch.set_num_threads(1)
    schedule = load_schedule(schedule_name).model_copy(update={"seed": seed})
    phases: list[Progress] = []

    def note(progress: Progress) -> None:
        if progress.largest_top1_percent is not None:
            phases.append(progress)
            watch(f"epoch {progress.epoch}/{progress.epochs}, {progress.phase}")

    start = time.process_time()
    train_supernet(Digits(), load_data("digits", 1), schedule, folder, on_epoch=note)
    return {
        "cpu_minutes": (time.process_time() - start) / 60,
        "epochs": schedule.epochs,
        "phases": [
            {"phase": p.phase, "largest_top1": p.largest_top1_percent, "smallest_top1": p.smallest_top1_percent}
            for p in phases
        ],
    }


def shared_top1(folder: Path, genomes: Genomes) -> Values:
    """Return top-1 in percent (n,) of networks with the supernet's weights."""
    from cosearch.supernet.data import load_data
    from cosearch.supernet.judge import judge, subnetwork
    from cosearch.supernet.sources import open_supernet

    supernet, data = open_supernet(folder), load_data("digits", 1)
    return np.array([judge(subnetwork(supernet, genome, data, 1000), data).top1_percent for genome in genomes])


def alone_top1(genome: Genomes, seed: int, epochs: int, learning_rate: float = ALONE_RATE) -> float:
    """Return top-1 in percent of one network, trained from fresh weights."""
    import torch

    from cosearch.supernet.data import load_data
    from cosearch.supernet.judge import judge, recalibrate_on
    from cosearch.supernet.network_module import NetworkModule
    from cosearch.supernet.schedule import AloneSchedule
    from cosearch.supernet.train_network import fresh_module, train_network

    torch.set_num_threads(1)
    data, network = load_data("digits", 1), Digits().network(genome)
    schedule = AloneSchedule(
        epochs=epochs, learning_rate=learning_rate, warmup_epochs=2, weight_decay=1e-4, dropout=0.0, seed=seed
    )
    module = train_network(fresh_module(partial(NetworkModule, network), seed), data, schedule)
    recalibrate_on(module, data, 1000)
    return judge(module, data).top1_percent


def all_alone(genomes: Genomes, seeds: Sequence[int], epochs: int, workers: int) -> Iterator[tuple[int, int, float]]:
    """Yield network, seed (their places) and top-1 in percent, in order."""
    tasks = [(network, place) for place in range(len(seeds)) for network in range(len(genomes))]
    rows, drawn = [genomes[network] for network, _ in tasks], [seeds[place] for _, place in tasks]
    with open_pool(workers) as executor:
        mapped = map if executor is None else executor.map
        made = mapped(alone_top1, rows, drawn, [epochs] * len(tasks))
        for (network, place), top1 in zip(tasks, made, strict=True):
            yield network, place, top1


def _spearman(one: Values, other: Values) -> Values:
    """Return Spearman's correlation along the last axis; equal values share their average rank."""
    left, right = (rankdata(values, axis=-1) for values in (one, other))
    left, right = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (left, right))
    products = (left * right).sum(axis=-1)
    with np.errstate(invalid="ignore"):  # of values that are all equal there is none: NaN
        return np.asarray(products / np.sqrt((left**2).sum(axis=-1) * (right**2).sum(axis=-1)))


def ranking(shared: Values, alone: Values, resolutions: Values, macs: Values) -> dict[str, Any]:
    """Return how well shared accuracies (n,) rank the accuracies alone (n, seeds), by Spearman's correlation.

    `macs` (n,) are the baseline: how well they rank them.
    """
    mean, several = alone.mean(axis=1), alone.shape[1] > 1
    draws = np.random.default_rng(0).integers(0, len(mean), size=(DRAWS, len(mean)))
    drawn = _spearman(shared[draws], mean[draws])
    return {
        "networks": len(mean),
        "seeds": alone.shape[1],
        "spearman": float(_spearman(shared, mean)),
        "interval_95": np.nanpercentile(drawn, [2.5, 97.5]).tolist(),
        "macs_spearman": float(_spearman(macs, mean)),
        "by_resolution": {
            str(int(px)): float(_spearman(shared[resolutions == px], mean[resolutions == px]))
            for px in np.unique(resolutions)
            if (resolutions == px).sum() > 2
        },
        "reliability": float(_spearman(alone[:, ::2].mean(axis=1), alone[:, 1::2].mean(axis=1))) if several else None,
        "alone_top1_range": [float(mean.min()), float(mean.max())],
        "alone_deviation_between_seeds": float(alone.std(axis=1, ddof=1).mean()) if several else None,
        "shared_top1_range": [float(shared.min()), float(shared.max())],
    }


def lines(told: dict[str, Any]) -> list[str]:
    """Return the figures as text."""
    shrunk, ranked, large = told["shrinking"], told["ranking"], told["largest"]
    low, high = ranked["interval_95"]
    made = [
        f"progressive shrinking: {shrunk['cpu_minutes']:.1f} CPU minutes, {shrunk['epochs']} epochs",
        f"  {'phase':<26}{'largest':>9}{'smallest':>10}   top-1, %",
    ]
    made += [
        f"  {each['phase']:<26}{each['largest_top1']:>9.2f}{each['smallest_top1']:>10.2f}" for each in shrunk["phases"]
    ]
    made += [
        f"largest network: teacher {large['teacher_top1']:.2f} %, in the supernet {large['supernet_top1']:.2f} %, "
        f"trained alone as long {large['alone_top1']:.2f} %",
        f"  elastic training costs it {large['cost_points']:.2f} points against that, "
        f"{large['cost_points_teacher']:.2f} against the teacher",
        f"ranking of {ranked['networks']} networks, shared weights against {ranked['seeds']} trainings alone each: Spearman "
        f"{ranked['spearman']:.3f} (95 %: {low:.3f} .. {high:.3f})",
        f"  the baseline, their MACs: Spearman {ranked['macs_spearman']:.3f}",
        "  among networks of one resolution: "
        + ", ".join(f"{px} px {value:.3f}" for px, value in ranked["by_resolution"].items()),
        f"  alone {ranked['alone_top1_range'][0]:.1f} .. {ranked['alone_top1_range'][1]:.1f} %, shared "
        f"{ranked['shared_top1_range'][0]:.1f} .. {ranked['shared_top1_range'][1]:.1f} %",
    ]
    if ranked["reliability"] is not None:
        made.append(
            f"  between seeds: deviation {ranked['alone_deviation_between_seeds']:.2f} points, Spearman of two halves "
            f"{ranked['reliability']:.3f}"
        )
    return made


def main(
    networks: Annotated[int, typer.Option(min=3, help="Networks to rank.")] = 34,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings alone, per network.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of the supernet, the sample and the trainings.")] = 0,
    schedule: Annotated[str, typer.Option(help="digits, digits-minute, or a file.")] = "digits",
    epochs: Annotated[int, typer.Option(min=3, help="Of each training alone.")] = ALONE_EPOCHS,
    workers: Annotated[int, typer.Option(min=1, help="Processes for the trainings alone.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Folder for the training; one that is removed without.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Train a supernet of the digits, and compare it with networks trained alone."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = out or Path(temporary) / "supernet"
        shrunk = shrink(schedule, seed, folder, lambda text: typer.echo(text, err=True))
        genomes = sampled(networks, seed)
        shared = shared_top1(folder, genomes)
    alone = np.empty((networks, seeds))
    for network, place, top1 in all_alone(genomes, range(seed, seed + seeds), epochs, workers):
        alone[network, place] = top1
    long = alone_top1(genomes[0], seed, shrunk["epochs"])
    resolutions = Digits().numbers(genomes)[:, 0].astype(np.float64)
    macs = np.array([Digits().network(genome).macs for genome in genomes], dtype=np.float64)
    told = {
        "shrinking": shrunk,
        "largest": {
            "teacher_top1": shrunk["phases"][0]["largest_top1"],
            "supernet_top1": float(shared[0]),
            "alone_top1": long,
            "cost_points": long - float(shared[0]),
            "cost_points_teacher": shrunk["phases"][0]["largest_top1"] - float(shared[0]),
        },
        "ranking": ranking(shared, alone, resolutions, macs),
        "genomes": genomes.tolist(),
        "shared_top1": shared.tolist(),
        "alone_top1": alone.tolist(),
    }
    for line in lines(told):
        typer.echo(line)
    if json_file is not None:
        json_file.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
