"""How a classifier does on leukocytes of other microscopes: shared classes, by source, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cmlcore import RESEARCH_USE
from cmlcore.classes import ancestors
from cmlcore.errors import InputError
from cmlcore.single_cell import metrics
from cmlcore.single_cell.classify import CellClassifier
from cmlcore.single_cell.in_fields import FieldCell, field_cells, shared

FIVE = ("neutrophil", "eosinophil", "basophil", "monocyte", "lymphocyte")
"""The classes that every set of mature leukocytes names."""


def judge_abroad(
    model: CellClassifier,
    root: Path,
    part: str = "val",
    sources: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Judge a classifier on the leukocytes of labelled fields of view.

    Two figures are given. *Shared*: the classifier is asked which of the five classes a cell is, its kinds
    summed up. *Open*: any of its classes may be the answer, and one outside the five is wrong.

    Args:
        model: a loaded classifier.
        root: folder of the sets.
        part: "val" or "train".
        sources: microscopes; None takes all, PBC's among them, which trained some classifiers.
        progress: told (done, all).

    Raises:
        InputError: no cell of the five classes is there.

    """
    cells = [c for c in field_cells(root, part) if sources is None or c.source in sources]
    homes = [next((a for a in ancestors(c.cls) if a in FIVE), None) for c in cells]
    pairs = [(c, FIVE.index(h)) for c, h in zip(cells, homes, strict=True) if h is not None]
    if not pairs:
        raise InputError(f"No leukocyte of {', '.join(FIVE)} lies in the {part} part; choose other sources.")
    probs, unlike = _answers(model, [c for c, _ in pairs], progress)
    truth = np.array([t for _, t in pairs], np.int64)
    source = np.array([c.source for c, _ in pairs])
    asked = shared(probs, model.card.classes, FIVE)
    opened = np.array([_home(model.card.classes[i]) for i in probs.argmax(axis=1)])
    by_source = {s: source == s for s in sorted(set(source.tolist()))}
    return {
        "research_use": RESEARCH_USE,
        "classes": list(FIVE),
        "part": part,
        "whole": metrics.judge(truth, asked, FIVE).to_json(),
        "open_balanced_accuracy": _balanced(truth, opened),
        "unknown_share": float((unlike > 1).mean()),
        "sources": {
            name: {
                "images": int(rows.sum()),
                "balanced_accuracy": _balanced(truth[rows], asked[rows].argmax(axis=1)),
                "open_balanced_accuracy": _balanced(truth[rows], opened[rows]),
                "unknown_share": float((unlike[rows] > 1).mean()),
            }
            for name, rows in by_source.items()
        },
    }


def _answers(
    model: CellClassifier, cells: Sequence[FieldCell], progress: Callable[[int, int], None] | None
) -> tuple[metrics.Floats, metrics.Floats]:
    probs, unlike = [], []
    for i in range(0, len(cells), model.batch):
        group = cells[i : i + model.batch]
        found = model.classify(np.stack([c.field(model.side, model.card.field_um) for c in group]))
        probs.append(found.probs.astype(np.float64))
        unlike.append(found.unlike.astype(np.float64))
        if progress is not None:
            progress(i + len(group), len(cells))
    return np.concatenate(probs), np.concatenate(unlike)


def _home(cls: str) -> int:
    """Place among the five of a class or what it is a kind of; −1 for any other."""
    return next((FIVE.index(a) for a in ancestors(cls) if a in FIVE), -1)


def _balanced(truth: metrics.Ints, called: metrics.Ints) -> float:
    """Mean over the classes there of the share called right."""
    return float(np.mean([(called[truth == c] == c).mean() for c in np.unique(truth)]))
