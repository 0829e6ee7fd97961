"""Network and hardware knobs side by side: the space that a co-search searches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accel_models.workload import Network
from cosearch.space import Genomes, Knob, NetworkSpace, Space
from cosearch.spaces.hardware import HardwareSpace

HARDWARE_PREFIX = "hardware."


class FixedNetwork(NetworkSpace):
    """A space of one given network, without knobs."""

    def __init__(self, network: Network) -> None:
        self.name = network.name
        self.summary = str(network)
        self.knobs = ()
        self.network_itself = network

    def network(self, genome: Genomes) -> Network:
        """Return the network."""
        return self.network_itself

    @property
    def size(self) -> int:
        """Number of different networks: one."""
        return 1


class JointSpace(Space):
    """The product of a network space and a hardware space; a genome is the network's genes, then the hardware's."""

    def __init__(self, networks: NetworkSpace, hardware: HardwareSpace) -> None:
        self.networks, self.hardware = networks, hardware
        self.name = f"{networks.name} x {hardware.name}"
        self.summary = f"{networks.summary}; {hardware.summary}"
        self.knobs = (
            *networks.knobs,
            *(Knob(HARDWARE_PREFIX + knob.name, knob.choices, knob.unit) for knob in hardware.knobs),
        )

    def split(self, genomes: Genomes) -> tuple[Genomes, Genomes]:
        """Return the network's and the hardware's part of genomes (..., knobs)."""
        cut = len(self.networks.knobs)
        return genomes[..., :cut], genomes[..., cut:]

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Tell which genes count, given the others."""
        networks, hardware = self.split(genomes)
        return np.concatenate([self.networks.active(networks), self.hardware.active(hardware)], axis=-1)

    def canonical(self, genomes: Genomes) -> Genomes:
        """Return genomes (n, knobs) as each of the two spaces writes them. The input is not changed."""
        networks, hardware = self.split(genomes)
        return np.concatenate([self.networks.canonical(networks), self.hardware.canonical(hardware)], axis=-1)
