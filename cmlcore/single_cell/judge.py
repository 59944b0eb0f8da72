"""How a classifier does on labelled single-cell images that it did not learn from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cmlcore import RESEARCH_USE
from cmlcore.errors import InputError
from cmlcore.single_cell import metrics
from cmlcore.single_cell.classify import CellClassifier
from cmlcore.single_cell.data import CellSet
from cmlcore.single_cell.images import read_fields


def judge_set(
    model: CellClassifier,
    cells: CellSet,
    mpp: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Judge a classifier on a set of its own classes; images of other classes are left out and counted.

    Args:
        model: a loaded classifier.
        cells: the labelled images.
        mpp: µm per pixel of them; None takes what the set's layout says.
        progress: told (done, all) while images are read.

    Returns:
        ``images``, ``left_out``, ``unknown_share``, and what ``metrics.Judgement.to_json`` gives.

    Raises:
        InputError: the pixel size is unknown, no image can be used, or none is of the classifier's classes.

    """
    own = tuple(i for i in cells.images if i.cls in model.card.classes)
    if not own:
        raise InputError(
            f"The set has none of the classes of “{model.card.key}”: {', '.join(model.card.classes)}."
        )
    shown = CellSet(own, cells.classes, cells.unit, cells.mpp)
    fields, kept, _ = read_fields(shown, mpp, model.side, progress, field_um=model.card.field_um)
    answers = model.classify(fields)
    truth = np.array([model.card.classes.index(i.cls) for i in kept], np.int64)
    judged = metrics.judge(truth, answers.probs, model.card.classes, groups=[i.group for i in kept])
    return {
        "research_use": RESEARCH_USE,
        "classifier": model.card.key,
        "sha256": model.card.sha256,
        "images": len(kept),
        "left_out": len(cells.images) - len(kept),
        "unknown_share": float((answers.unlike > 1).mean()),
        **judged.to_json(),
    }
