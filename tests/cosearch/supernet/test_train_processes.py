"""Trainings in processes of their own: one that is killed, and two that work together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import torch

from cosearch.supernet.checkpoint import read_tensors

from .short import short

TRAIN = """
import sys, torch
torch.set_num_threads(1)
from cosearch.spaces.digits import Digits
from cosearch.supernet.train import train_supernet
from tests.cosearch.supernet.short import few_digits, short
folder, resume, copy = sys.argv[1], sys.argv[2] == "resume", sys.argv[3]
made = train_supernet(Digits(), few_digits(), short(), folder, resume=resume)
torch.save(made.state_dict(), copy)
"""


def start(*words: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, *map(str, words)],
        env={**os.environ, **environment},
        text=True,
        stderr=subprocess.PIPE,
    )


def finished(process: subprocess.Popen[str]) -> None:
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told


def equal(left, right) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_a_training_killed_at_any_moment_goes_on_from_its_last_epoch(tmp_path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    other = start(whole, "new", tmp_path / "whole.pt")
    process = start(killed, "new", tmp_path / "never.pt")
    log = killed / "epochs.jsonl"
    while process.poll() is None and not (log.exists() and len(log.read_text().splitlines()) >= 2):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert 2 <= read_tensors(killed / "checkpoint.pt")["epoch"] < short().epochs
    finished(other)
    finished(start(killed, "resume", tmp_path / "killed.pt"))
    assert equal(torch.load(tmp_path / "whole.pt"), torch.load(tmp_path / "killed.pt"))
    assert len(log.read_text().splitlines()) == short().epochs


def test_two_processes_train_one_supernet(tmp_path) -> None:
    """As torchrun starts them: each takes half of every batch, both end with the same weights, the first one writes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        start(tmp_path / "run", "new", tmp_path / f"{rank}.pt", RANK=str(rank), LOCAL_RANK=str(rank), **together)
        for rank in (0, 1)
    ]
    for process in processes:
        finished(process)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    learned = {name for name in first if "running" not in name}
    assert all(torch.equal(first[name], second[name]) for name in learned)
    assert any(not torch.equal(first[name], second[name]) for name in first.keys() - learned)  # each saw its own images
    kept = read_tensors(tmp_path / "run" / "supernet.pt")["state"]
    assert equal(kept, first)
    assert read_tensors(tmp_path / "run" / "checkpoint.pt")["training"]["processes"] == 2
