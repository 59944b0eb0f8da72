"""The comparison of the paper: both types on both tasks, from stored training runs. No torch is needed.

The first task has erythrocytes and leukocytes on photographs. For the second (NET, pseudo-Gaucher cell,
megakaryocyte) there are no public photographs: its cells are phantoms, drawn on real ground, and every
title, legend, table and file of that task says so.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from cmlcore import RESEARCH_USE
from cmlcore.errors import InputError
from cmlcore.files import read_json
from cmlcore.ground_truth.records import PHANTOM as PHANTOM
from cmlcore.ground_truth.records import drawn
from cmlcore.job_folder import read_status
from cmlcore.training.presets import PRESETS
from cmlcore.training.run_dir import DATA, ENVIRONMENT, read_curves, read_settings
from cmlcore.training.settings import TrainSettings
from models import registry

Axis = Literal["epoch", "step", "minutes"]
TYPES = {"type1": "Type 1: Mask R-CNN", "type2": "Type 2: Vision Transformer"}
_QUIET = {"key", "title", "device", "threads", "workers", "data", "preset", "model", "classes", "save_s"}
"""Settings that decide no figure, or that are the question itself; paths stay on this machine."""
SHIPPED = registry.SHIPPED / "trainings"
"""Trainings that come with CMLscope, their curves without their weights."""
_BUDGET = ("epochs", "steps", "minutes")
TRAIN_POINTS = 160
"""Train losses are averaged so that a curve has no more points than this."""


@dataclass(frozen=True, slots=True)
class Task:
    """One question of the paper; ``key`` is the preset's name.

    ``phantom``: whether its images are taken for phantoms where the training does not say what they were.
    """

    key: str
    title: str
    phantom: bool


TASKS = {
    "erythrocyte-leukocyte": Task("erythrocyte-leukocyte", "Erythrocyte, leukocyte", phantom=False),
    "three-class": Task("three-class", "NET, pseudo-Gaucher cell, megakaryocyte", phantom=True),
}
Slot = tuple[str, str]  # task, type
SLOTS: tuple[Slot, ...] = tuple((task, kind) for task in TASKS for kind in TYPES)


@dataclass(frozen=True, slots=True)
class Training:
    """One stored training run."""

    folder: Path
    settings: TrainSettings
    status: dict[str, Any]
    curves: list[dict[str, Any]]
    environment: dict[str, Any]
    data: dict[str, Any]

    @property
    def slot(self) -> Slot | None:
        """The place it can take: told by its classes and its network; None where it fits none."""
        task = next((t for t in TASKS if set(PRESETS[t]["classes"]) == set(self.settings.classes)), None)
        return None if task is None else (task, self.settings.model)

    @property
    def shipped(self) -> bool:
        """Whether it came with CMLscope."""
        return self.folder.parent == SHIPPED

    @property
    def phantom(self) -> bool:
        """Whether some of its images are phantoms, as their sources say."""
        sources = self.data.get("sources")
        if isinstance(sources, list) and sources:
            return drawn(sources)
        return self.slot is not None and TASKS[self.slot[0]].phantom

    @property
    def images(self) -> str:
        """What its images are: photographs, or phantoms."""
        return PHANTOM if self.phantom else "photograph"

    @property
    def finished(self) -> bool:
        """Whether it ran to its end and was judged on ``val`` at least once."""
        return self.status.get("state") == "done" and bool(self.val)

    @property
    def train(self) -> list[dict[str, Any]]:
        """Events of the training part, in order."""
        return [e for e in self.curves if e.get("split") == "train"]

    @property
    def val(self) -> list[dict[str, Any]]:
        """Events of the validation part, in order."""
        return [e for e in self.curves if e.get("split") == "val"]

    @property
    def best(self) -> dict[str, Any] | None:
        """The validation of the highest mAP50; None where there is none."""
        known = [e for e in self.val if e.get("map50") is not None]
        return max(known, key=lambda e: float(e["map50"])) if known else None


def read_training(folder: Path) -> Training:
    """Read a training run directory.

    Raises:
        InputError: the folder holds no training.

    """
    return Training(
        folder,
        read_settings(folder),
        read_status(folder),
        read_curves(folder),
        read_json(folder / ENVIRONMENT),
        read_json(folder / DATA),
    )


def stored_trainings(root: Path) -> list[Training]:
    """The trainings one or two levels below a folder that fit a place, newest first; broken ones left out."""
    found = []
    for settings_file in (*root.glob("*/settings.json"), *root.glob("*/*/settings.json")):
        try:
            training = read_training(settings_file.parent)
        except InputError:
            continue
        if training.slot is not None and training.curves:
            found.append((settings_file.stat().st_mtime, training.folder.name, training))
    return [t for *_, t in sorted(found, key=lambda x: x[:2], reverse=True)]


def known_trainings(root: Path) -> dict[Slot, list[Training]]:
    """The trainings of each place: finished ones first, those below ``root`` before those that ship."""
    return by_slot([*stored_trainings(root), *stored_trainings(SHIPPED)])


def by_slot(trainings: Iterable[Training]) -> dict[Slot, list[Training]]:
    """Trainings by the place they can take, in their order; finished ones first."""
    out: dict[Slot, list[Training]] = {slot: [] for slot in SLOTS}
    for training in trainings:
        if training.slot is not None:
            out[training.slot].append(training)
    return {slot: sorted(known, key=lambda t: not t.finished) for slot, known in out.items()}


def chosen_from(folders: Sequence[Path]) -> dict[Slot, Training]:
    """The place of each of some run directories.

    Raises:
        InputError: one is no training, fits no place, or two want the same place.

    """
    out: dict[Slot, Training] = {}
    for folder in folders:
        training = read_training(folder)
        if training.slot is None:
            wanted = "; ".join(", ".join(PRESETS[t]["classes"]) for t in TASKS)
            raise InputError(f"{folder} was trained on other classes than the paper's ({wanted}).")
        if training.slot in out:
            raise InputError(f"{folder} and {out[training.slot].folder} are of the same type and task.")
        out[training.slot] = training
    return out


def has_phantoms(chosen: Mapping[Slot, Training], task: str) -> bool:
    """Whether a training of the task saw phantoms."""
    return any(t.phantom for (of, _), t in chosen.items() if of == task)


def full_title(chosen: Mapping[Slot, Training], task: str) -> str:
    """The task's title, with the word that must not be missed."""
    return TASKS[task].title + phantom_word(has_phantoms(chosen, task))


def phantom_word(phantom: bool) -> str:
    """What follows the name of anything that comes of phantoms; empty for photographs."""
    return f" ({PHANTOM}s)" if phantom else ""


def short_type(kind: str) -> str:
    """A type without its network's name: "Type 1"."""
    return TYPES[kind].partition(":")[0]


def at(event: Mapping[str, Any], axis: Axis) -> float:
    """Where an event lies on the axis."""
    return float(event["seconds"]) / 60 if axis == "minutes" else float(event[axis])


def train_loss(training: Training, axis: Axis) -> tuple[list[float], list[float], int]:
    """Train loss over the axis, averaged over neighbouring events: places, means, events in each mean."""
    events = [e for e in training.train if e.get("loss") is not None]
    each = -(-len(events) // TRAIN_POINTS) or 1
    groups = [list(g) for _, g in groupby(enumerate(events), lambda pair: pair[0] // each)]
    places = [sum(at(e, axis) for _, e in g) / len(g) for g in groups]
    means = [sum(float(e["loss"]) for _, e in g) / len(g) for g in groups]
    return places, means, each


FIGURES_HEADER = [
    "task", "images", "type", "best_map50", "map_at_best", "epoch_at_best", "last_val_loss",
    "last_train_loss", "ap50_by_class", "epochs", "steps", "minutes", "train_images",
    "val_images", "device", "state",
]  # fmt: skip


def figure_row(slot: Slot, training: Training) -> list[Any]:
    """Final figures of one training, as ``FIGURES_HEADER`` names them."""
    best, last = training.best or {}, (training.val or [{}])[-1]
    _, losses, _ = train_loss(training, "step")
    events = training.curves or [{}]
    return [
        slot[0],
        training.images,
        slot[1],
        best.get("map50"),
        best.get("map"),
        best.get("epoch"),
        last.get("loss"),
        losses[-1] if losses else None,
        best.get("ap50", {}),
        max((float(e.get("epoch", 0)) for e in events), default=0.0),
        max((int(e.get("step", 0)) for e in events), default=0),
        max((float(e.get("seconds", 0)) for e in events), default=0.0) / 60,
        _images(training.data, "train"),
        _images(training.data, "val"),
        training.status.get("device") or training.environment.get("device", ""),
        training.status.get("state", ""),
    ]


def _images(data: Mapping[str, Any], part: str) -> int | None:
    """Images of a part, as ``data.json`` has them; None where it does not say."""
    found = data.get("images")
    value = found.get(part) if isinstance(found, Mapping) else None
    return int(value) if isinstance(value, int | float) else None


SETTINGS_HEADER = ["task", "images", "setting", "published", *TYPES]


def setting_rows(chosen: Mapping[Slot, Training]) -> list[list[Any]]:
    """Settings in which the types of a task differ from each other or from the published recipe."""
    rows = []
    for task in TASKS:
        told = {k: _flat(chosen[task, k].settings) for k in TYPES if (task, k) in chosen}
        if not told:
            continue
        published = {"budget": _budget(PRESETS[task]), **_values(PRESETS[task])}
        for name in dict.fromkeys(n for values in told.values() for n in values):
            values = [told[k].get(name) if k in told else None for k in TYPES]
            known = [told[k].get(name) for k in told]
            wanted = published.get(name)
            if len({repr(v) for v in known}) > 1 or (name in published and any(v != wanted for v in known)):
                images = PHANTOM if has_phantoms(chosen, task) else "photograph"
                rows.append([task, images, name, wanted, *values])
    return rows


def _flat(settings: TrainSettings) -> dict[str, Any]:
    return {"budget": _budget(settings.model_dump()), **_values(settings.model_dump(mode="json"))}


def _values(raw: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in raw.items():
        if name in _QUIET or name in _BUDGET:
            continue
        if isinstance(value, Mapping):
            out |= {f"{name} {k}": v for k, v in value.items()}
        elif name == "backbone_weights":
            out[name] = None if value is None else Path(str(value)).name
        else:
            out[name] = value
    return out


def _budget(raw: Mapping[str, Any]) -> str:
    return ", ".join(f"{raw[n]:g} {n}" for n in _BUDGET if raw.get(n) is not None) or "none"


CURVES_HEADER = ["task", "images", "type", "split", "step", "epoch", "seconds", "loss", "map50", "map"]


def curve_rows(chosen: Mapping[Slot, Training]) -> list[list[Any]]:
    """Every event of every curve."""
    return [
        [slot[0], training.images, slot[1], *(e.get(n) for n in CURVES_HEADER[3:])]
        for slot, training in chosen.items()
        for e in training.curves
    ]


def to_json(chosen: Mapping[Slot, Training]) -> dict[str, Any]:
    """All of it, with what a reader must know first."""
    return {
        "research_use": RESEARCH_USE,
        "note": note(chosen),
        "trainings": [
            {
                **dict(zip(FIGURES_HEADER, figure_row(slot, t), strict=True)),
                "settings": {
                    k: v
                    for k, v in t.settings.model_dump(mode="json").items()
                    if k not in ("data", "backbone_weights")
                },
                "environment": t.environment,
                "curves": t.curves,
            }
            for slot, t in chosen.items()
        ],
    }


def note(chosen: Mapping[Slot, Training]) -> str:
    """What must be known to read the figures."""
    text = "Each network has its own loss: compare the course of the losses, not their height."
    if any(t.phantom for t in chosen.values()):
        text += (
            " NET, pseudo-Gaucher cell and megakaryocyte are phantoms, drawn on real smear ground: their "
            "figures say how the networks learn, and nothing about real cells."
        )
    return text


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as CSV, after the lines that say what it is."""
    out = io.StringIO()
    out.write(f"# research_use: {RESEARCH_USE}\n")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow(
            [json.dumps(x) if isinstance(x, dict | list) else "" if x is None else x for x in row]
        )
    return out.getvalue()
