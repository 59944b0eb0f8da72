"""The loss of a model, from the run directory in which it was trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from cmlcore.errors import InputError
from cmlcore.evaluation.result import Evaluation
from cmlcore.settings import settings

NO_TRAINING = "No training run of this model is stored here, so its loss is not known."
_NOT_LOSS = ("map50", "map", "ap50", "ap", "seconds", "lr", "images")


def with_loss(evaluation: Evaluation, training: Path | None = None) -> Evaluation:
    """The evaluation with the validation loss of the weights it judged.

    The weights are those of the best epoch (highest mAP50 on the training's own ``val`` part), and so is the
    loss, over the training's data whatever the evaluation's are; the note says so.

    Args:
        evaluation: of a model.
        training: run directory; None: the one whose model has the same weights, if any.

    Raises:
        InputError: ``training`` holds no validation.

    """
    found = training if training is not None else training_of(evaluation.manifest.model_sha256)
    if found is None:
        return replace(evaluation, loss=None, loss_note=NO_TRAINING)
    best = best_validation(found)
    if best is None:
        raise InputError("The training run holds no validation loss; let it finish an epoch first.")
    loss = {k: v for k, v in best.items() if k not in _NOT_LOSS}
    note = "Validation loss of the training at the epoch whose weights were kept, on the training's own data."
    return replace(evaluation, loss=loss, loss_note=note)


def training_of(sha256: str) -> Path | None:
    """The stored training run that made the weights with this hash."""
    for path in sorted(settings().trainings_dir.glob("*/model/*.json")):
        try:
            made = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # half written, or somebody else's
        if isinstance(made, dict) and made.get("sha256") == sha256:
            return path.parent.parent
    return None


def best_validation(training: Path) -> dict[str, Any] | None:
    """The validation line of the highest mAP50 (where it has none, of the lowest loss); None without one."""
    lines = []
    try:
        text = (training / "curves.jsonl").read_text(encoding="utf-8")
    except OSError:
        return None
    for line in text.splitlines():
        try:
            raw = json.loads(line)
        except ValueError:
            continue  # the last line of a run that was cut off
        if isinstance(raw, dict) and raw.get("split") == "val" and isinstance(raw.get("loss"), int | float):
            lines.append(raw)
    return max(lines, key=lambda v: (v.get("map50") or 0.0, -v["loss"]), default=None)
