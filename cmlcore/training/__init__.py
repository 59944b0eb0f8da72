"""Training: tiles drawn from labelled images, and the fitting of a network to them.

Importing this package costs no torch: what needs it comes in when it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cmlcore.training.presets import PRESETS, from_preset
from cmlcore.training.run_dir import new_run_dir, read_curves, read_settings
from cmlcore.training.settings import Augmentation, TrainSettings

if TYPE_CHECKING:
    from cmlcore.training.fitting import FitResult, fit
    from cmlcore.training.scenes import Scene, load_scenes
    from cmlcore.training.tiles import CellTiles, TileSettings, masks_of

_LATER = {
    "FitResult": "fitting",
    "fit": "fitting",
    "Scene": "scenes",
    "load_scenes": "scenes",
    "CellTiles": "tiles",
    "TileSettings": "tiles",
    "masks_of": "tiles",
}

__all__ = [
    "PRESETS",
    "Augmentation",
    "CellTiles",
    "FitResult",
    "Scene",
    "TileSettings",
    "TrainSettings",
    "fit",
    "from_preset",
    "load_scenes",
    "masks_of",
    "new_run_dir",
    "read_curves",
    "read_settings",
]


def __getattr__(name: str) -> Any:
    """What needs torch, imported at first use (PEP 562)."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
