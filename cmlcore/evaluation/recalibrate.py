"""Make a model's scores probabilities: fit, choose the threshold, write both into the model's card."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cmlcore.errors import InputError, StorageError
from cmlcore.evaluation.calibrate import Map, best_threshold, fit_map, held_out, threshold_for
from cmlcore.evaluation.facts import data_hash, now
from cmlcore.evaluation.judging import fields_of
from cmlcore.evaluation.mapping import label_names, map_classes
from cmlcore.evaluation.match_tables import match_tables, overlaps_of
from cmlcore.evaluation.matching import Ints, Numbers, Table
from cmlcore.evaluation.reliability import calibration_error
from cmlcore.evaluation.whole import found_in, pixel_sizes
from cmlcore.files import whole_file
from cmlcore.ground_truth.records import Record
from models.base import CellModel
from models.calibration import Calibration, raw
from models.registry import SHIPPED, card, read_card

DOUBTFUL = 0.2
"""A cell that is right with at least this probability, yet below the threshold, is shown as unidentified."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a calibration found.

    Attributes:
        calibration: a map for each class that has one, as the card holds it.
        min_score: threshold on the calibrated score.
        unidentified_score: from here to the threshold cells are unidentified; None: no such cells.
        cells: judged found cells by class.
        error_before: expected calibration error by class of the network's own scores.
        error_after: of the calibrated ones, on images that the map was not fitted to.
        facts: what it rests on, for the card.

    """

    calibration: dict[str, Map]
    min_score: float
    unidentified_score: float | None
    cells: dict[str, int]
    error_before: dict[str, float]
    error_after: dict[str, float]
    facts: dict[str, Any]


def fit_model(
    model: CellModel,
    records: Sequence[Record],
    *,
    precision: float | None = None,
    data: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Fitted:
    """Fit the maps and choose the threshold of a model on labelled images it was not trained on.

    Args:
        model: the network.
        records: the images.
        precision: choose the lowest threshold at which each class has it; None: the highest mean F1.
        data: name of the data, for the card.
        progress: called with (images done, images in all).

    Raises:
        InputError: there is no image, no class of the model has labelled cells, or none has the precision.

    """
    plain = raw(model)
    mapping = map_classes(model.classes, label_names(records))
    scales, _ = pixel_sizes(plain, records, "known")
    fields, _ = fields_of(found_in(plain, records, scales, progress), mapping, "auto")
    tables = match_tables(fields, overlaps_of(fields, "box"), len(mapping.classes))
    own = [
        (c, t) for c, t in zip(mapping.classes, tables, strict=True) if c in model.classes and t.true.sum()
    ]
    if not own:
        raise InputError("No class of the model has labelled cells there; choose other data.")
    maps, before, after = {}, {}, {}
    for cls, table in own:
        scores, right, image = _judged(table)
        made = fit_map(scores, right, image)
        if made is not None:
            maps[cls] = made
        held = held_out(lambda s, r: fit_map(s, r, np.arange(len(s))), scores, right, image)
        before[cls] = _error(scores, right, image, len(fields))
        after[cls] = _error(held, right, image, len(fields))
    calibrated = Calibration.of(maps, model.classes)
    curves = [_falling(t, calibrated, model.classes.index(c)) for c, t in own]
    least = best_threshold(curves) if precision is None else threshold_for(precision, curves)
    if least is None:
        raise InputError(f"No threshold gives every class a precision of {precision:g}; ask for less.")
    facts = {
        "data": data,
        "data_sha256": data_hash(records),
        "images": len(records),
        "weights_sha256": model.sha256,
        "rule": "highest mean F1" if precision is None else f"precision of at least {precision:g}",
        "date": now()[:10],
    }
    cells = {c: int((~t.ignored[0]).sum()) for c, t in own}
    doubtful = DOUBTFUL if least > DOUBTFUL else None
    return Fitted(maps, least, doubtful, cells, before, after, facts)


def _judged(table: Table) -> tuple[Numbers, Ints, Ints]:
    keep = ~table.ignored[0]
    return table.scores[keep], table.hit[0, keep].astype(np.int64), table.image[keep]


def _falling(table: Table, calibrated: Calibration, cls: int) -> tuple[Numbers, Ints, int]:
    """Calibrated scores of the judged cells, whether each is right, and the number of true cells."""
    scores, right, _ = _judged(table)
    made = calibrated.apply(scores, np.full(len(scores), cls))
    order = np.argsort(-made, kind="stable")
    return made[order], right[order], int(table.true.sum())


def _error(scores: Numbers, right: Ints, image: Ints, images: int) -> float:
    return calibration_error(scores, right > 0, image, np.ones((1, images))).value or 0.0


def write_card(key: str, fitted: Fitted) -> Path:
    """Write a calibration into the card of its model: a shipped card in a checkout, else the user's own.

    Returns:
        The card's file.

    Raises:
        ModelError: there is no such model.
        InputError: the card is shipped and this is no checkout.
        StorageError: it cannot be written.

    """
    made = card(key)
    shipped = made.weights.parent == SHIPPED / "weights"
    if shipped and not (SHIPPED.parent / "pyproject.toml").is_file():
        raise InputError(
            f"“{key}” is part of the installed program; calibrate a model of your own, or a checkout."
        )
    folder = SHIPPED / "cards" if shipped else made.weights.parent
    path = next(p for p in sorted(folder.glob("*.json")) if _key(p) == key)
    told = json.loads(path.read_text(encoding="utf-8"))
    told |= {
        "min_score": fitted.min_score,
        "calibration": fitted.calibration,
        "calibrated_on": fitted.facts
        | {
            "cells": fitted.cells,
            "error_before": {c: round(v, 4) for c, v in fitted.error_before.items()},
            "error_after": {c: round(v, 4) for c, v in fitted.error_after.items()},
        },
    }
    told.pop("unidentified_score", None)
    if fitted.unidentified_score is not None:
        told["unidentified_score"] = fitted.unidentified_score
    try:
        with whole_file(path) as part:
            part.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            read_card(part, made.weights.parent)
    except OSError as e:
        raise StorageError(
            f"The card {path.name} cannot be written; check the disk and its permissions."
        ) from e
    return path


def _key(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("key"))
    except (OSError, ValueError, AttributeError):
        return ""
