"""One classifier made for use: fitted on a split, judged on its test part, saved with its card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cmlcore import RESEARCH_USE
from cmlcore.errors import InputError
from cmlcore.settings import settings
from cmlcore.single_cell import metrics, shelf
from cmlcore.single_cell.classify import CellClassifier, save
from cmlcore.single_cell.colours import side_of
from cmlcore.single_cell.data import CellSet
from cmlcore.single_cell.fit import Fitted, Frozen, Recipe, Start, fit_whole
from cmlcore.single_cell.images import FIELD_UM, read_fields
from cmlcore.single_cell.probe import never
from cmlcore.single_cell.shelf import ClassifierCard
from cmlcore.single_cell.splits import Split, by_parts, holdout, said
from cmlcore.versions import versions
from models.backbone_names import WEIGHT_SUFFIXES
from models.classifiers import backbone

Tell = Callable[[str, int, int], None]


def backbone_start(key: str, given: Path | None = None) -> Start:
    """Where a backbone's weights come from: the file given, ``CML_HOME/backbones/KEY.*``, else its library.

    Raises:
        InputError: it has no weights to fetch by name, and no file is there.

    """
    if given is not None:
        return given
    folder = settings().backbones_dir
    for suffix in WEIGHT_SUFFIXES:
        if (path := folder / f"{key}{suffix}").is_file():
            return path
    if backbone(key).weights is None:
        raise InputError(
            f"{backbone(key).title} needs the file its authors publish; give it with --weights {key}=FILE."
        )
    return "fetch"


def train_classifier(
    cells: CellSet,
    mpp: float | None,
    recipe: Recipe,
    name: str,
    *,
    device: str = "auto",
    folder: Path | None = None,
    tell: Tell | None = None,
    cancelled: Callable[[], bool] = never,
) -> ClassifierCard:
    """Fit, judge and save a classifier; the set's own parts are used where it has train and val.

    Args:
        cells: the labelled set.
        mpp: µm per pixel of its images; None takes what its layout says.
        recipe: what is fitted.
        name: title; the key is made of it.
        device: to work on.
        folder: where it goes; None: ``CML_HOME/classifiers``.
        tell: told (what, done, all).
        cancelled: asked often.

    Raises:
        InputError: the set cannot be used.
        ModelError: weights cannot be had, or the result cannot be written.
        RunCancelledError: ``cancelled`` said so.

    """

    def told(what: str) -> Callable[[int, int], None]:
        return lambda done, total: tell(what, done, total) if tell is not None else None

    key = shelf.free_key(name)
    side = side_of(recipe.colours, recipe.side)
    fields, kept, refused = read_fields(cells, mpp, side, told("Reading images"))
    labels = np.array([cells.classes.index(i.cls) for i in kept], np.int64)
    groups = [i.group for i in kept]
    split = by_parts(kept, labels, recipe.seed) or holdout(labels, groups, recipe.seed)
    absent = [c for n, c in enumerate(cells.classes) if n not in set(labels[split.train].tolist())]
    if absent:
        raise InputError(f"No image of {', '.join(absent)} is in the training part; add some.")
    frozen = Frozen(recipe, fields, device, told("Features"), cancelled)
    n = len(cells.classes)
    if recipe.tuning == "last":
        fitted = frozen.fit(labels, split, n, refit=True)
    else:
        fitted = fit_whole(frozen, fields, labels, split, n, told("Training"), cancelled)
    card = ClassifierCard(
        key=key,
        title=name,
        backbone=recipe.backbone,
        tuning=recipe.tuning,
        colours=recipe.colours,
        classes=cells.classes,
        field_um=FIELD_UM,
        side=recipe.side,
        weights=Path(f"{key}.safetensors"),
        sha256="",
    )
    model = CellClassifier(card, fitted.net, fitted.unlike, frozen.device)
    answers = model.classify(fields[split.test])
    judged = metrics.judge(
        labels[split.test], answers.probs, cells.classes, groups=[groups[i] for i in split.test]
    )
    card.extra.update(_facts(cells, split, fitted, judged, float((answers.unlike > 1).mean()), mpp))
    card.extra["data"]["refused"] = len(cells.refused) + len(refused)
    return save(card, fitted.net, fitted.unlike, folder)


def _facts(
    cells: CellSet,
    split: Split,
    fitted: Fitted,
    judged: metrics.Judgement,
    unknown: float,
    mpp: float | None,
) -> dict[str, Any]:
    return {
        "research_use": RESEARCH_USE,
        "data": {
            "classes": cells.counts(),
            "train": len(split.train),
            "val": len(split.val),
            "test": len(split.test),
            "mpp": mpp if mpp is not None else cells.mpp,
            "unit": said(cells.unit),
        },
        "metrics": {
            "images": len(split.test),
            "unknown_share": round(unknown, 4),
            **{k: [f.value, f.low, f.high] for k, f in judged.figures.items()},
            "classes": {line.cls: [line.sensitivity, line.precision] for line in judged.lines},
            "confusion": judged.confusion,
        },
        "fit": {
            "seconds": round(fitted.seconds, 1),
            "penalty": fitted.penalty,
            "epochs": [[e.train_loss, e.val_loss, e.val_accuracy] for e in fitted.epochs],
        },
        "versions": versions("torch", "torchvision", "timm"),
        "limits": [
            RESEARCH_USE,
            "Figures are for the microscope, stain and camera of its training set; on others expect a fall.",
            "It answers with one of its classes or unknown; a kind of cell it never saw may get any name.",
        ],
    }
