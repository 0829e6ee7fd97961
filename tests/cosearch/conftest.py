"""Small searches: a space of a few networks and a machine with a small hardware space, so that a run takes a second."""

from __future__ import annotations

import pytest

from accel_models.accelerator import Accelerator
from accel_models.description import parse_target

TARGET = """
name: tiny
clock_mhz: 100
node_nm: 45
levels:
  - {name: registers, component: register_file, keeps: [weights, inputs, outputs], entries: 32}
  - name: buffer
    component: sram
    keeps: [inputs, outputs]
    entries: 4096
    read_bandwidth_words_per_cycle: 8
    write_bandwidth_words_per_cycle: 8
    fanout: {x: {size: 8, dims: [K, G]}, y: {size: 8, dims: [C, Q]}}
  - {name: dram, component: dram, keeps: [weights, inputs, outputs], shared_bandwidth_words_per_cycle: 4}
search:
  - {name: array_x, sets: [buffer.fanout.x.size], minimum: 2, maximum: 16, step: 2, unit: PEs}
  - {name: array_y, sets: [buffer.fanout.y.size], minimum: 2, maximum: 16, step: 2, unit: PEs}
  - {name: buffer, sets: [buffer.entries], choices: [1, 1024, 4096, 16384], unit: words}
"""


@pytest.fixture(scope="session")
def tiny() -> Accelerator:
    return parse_target(TARGET, "tiny.yaml")
