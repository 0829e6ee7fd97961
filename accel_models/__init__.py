"""What a network costs on a target: accelerators described in YAML, an analytical cost model, mappers.

The names below are loaded at first use, so that ``import accel_models`` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

_HOME = {
    "Accelerator": "accel_models.accelerator",
    "AccelModelsError": "accel_models.errors",
    "Layer": "accel_models.workload",
    "LevelMapping": "accel_models.mapping",
    "Mapping": "accel_models.mapping",
    "Network": "accel_models.workload",
    "NetworkBuilder": "accel_models.network_builder",
    "best_mapping": "accel_models.mapper.best",
    "mapping_front": "accel_models.mapper.best",
    "layer_cost": "accel_models.layer_cost",
    "map_layers": "accel_models.mapper.table",
    "load_network": "accel_models.networks",
    "load_target": "accel_models.description",
    "target_names": "accel_models.description",
}

__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from accel_models.accelerator import Accelerator as Accelerator
    from accel_models.description import load_target as load_target
    from accel_models.description import target_names as target_names
    from accel_models.errors import AccelModelsError as AccelModelsError
    from accel_models.layer_cost import layer_cost as layer_cost
    from accel_models.mapper.best import best_mapping as best_mapping
    from accel_models.mapper.best import mapping_front as mapping_front
    from accel_models.mapper.table import map_layers as map_layers
    from accel_models.mapping import LevelMapping as LevelMapping
    from accel_models.mapping import Mapping as Mapping
    from accel_models.network_builder import NetworkBuilder as NetworkBuilder
    from accel_models.networks import load_network as load_network
    from accel_models.workload import Layer as Layer
    from accel_models.workload import Network as Network


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'accel_models' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
