"""Training recipes by name. Every value can be changed; what one leaves open is the network's own."""

from __future__ import annotations

from typing import Any

from cmlcore.errors import InputError
from cmlcore.training.settings import THREE_CELLS, Model, TrainSettings, checked

# Epochs, rate, batch and tile of the first two are as published. At which scale the published networks saw
# their cells is not known: at 0.4 µm per pixel a megakaryocyte of 50 µm and more fits a tile of 512.
PRESETS: dict[str, dict[str, Any]] = {
    "three-class": {
        "classes": ("net", "pseudo_gaucher_cell", "megakaryocyte"),
        "epochs": 100,
        "lr": 1e-4,
        "batch": 2,
        "tile": 512,
        "mpp": 0.4,
    },
    "erythrocyte-leukocyte": {
        "classes": ("erythrocyte", "leukocyte"),
        "epochs": 50,
        "lr": 1e-4,
        "batch": 1,
        "tile": 256,
    },
    "three-cells": {"classes": THREE_CELLS, "batch": 2, "tile": None},
}

# What the two networks were measured to want where no preset says otherwise.
_OWN: dict[Model, dict[str, Any]] = {"type1": {"lr": 1e-3}, "type2": {"lr": 5e-4}}
_SHIPPED: dict[Model, dict[str, Any]] = {"type1": {"batch": 4, "ema": 0.99}, "type2": {"ema": 0.99}}

TITLES = {
    "three-class": "NET, pseudo-Gaucher cell, megakaryocyte (100 epochs, lr 1e-4, batch 2, tile 512)",
    "erythrocyte-leukocyte": "Erythrocyte, leukocyte (50 epochs, lr 1e-4, batch 1, tile 256)",
    "three-cells": "Erythrocyte, leukocyte, thrombocyte (as the networks that ship)",
}


def from_preset(name: str | None, model: Model, **changes: Any) -> TrainSettings:
    """The settings of a preset for one network, with some values changed.

    Args:
        name: of ``PRESETS``; None for the network's own defaults.
        model: which network.
        changes: values of ``TrainSettings`` that replace the preset's. A budget (epochs, steps or minutes)
            replaces the preset's budget as a whole.

    Raises:
        InputError: there is no such preset, or a value cannot be used.

    """
    if name is not None and name not in PRESETS:
        raise InputError(f"There is no preset “{name}”; choose among {', '.join(PRESETS)}.")
    values = dict(_OWN[model])
    if name is not None:
        values |= PRESETS[name]
    if name == "three-cells":
        values |= _SHIPPED[model]
    if changes.keys() & {"epochs", "steps", "minutes"}:
        values.pop("epochs", None)
    return checked({**values, **changes, "model": model, "preset": name})
