"""Run a model over labelled sets, by the same road as ``predict``, and judge what it finds."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from cmlcore.errors import InputError
from cmlcore.evaluation.judges import Judge, judge_of
from cmlcore.evaluation.matching import LOWEST_SCORE
from cmlcore.evaluation.report import EvaluationReport
from cmlcore.ground_truth.records import spread
from cmlcore.ground_truth.sets import CLASSES, MPP, records
from cmlcore.predict import estimated_mpp, predict_rgb, read_rgb
from models.base import CellModel, Instances
from models.registry import load_model

SETS = ("txl_pbc", "krd_wbc", "bbbc041seg")


def evaluate(
    model_key: str,
    data_dir: Path,
    sets: list[str] | None = None,
    split: str = "val",
    device: str = "auto",
    limit: int | None = None,
    mpp: Literal["known", "auto"] = "known",
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationReport:
    """Load a model and evaluate it; see ``evaluate_sets``.

    Raises:
        ModelError: the model cannot be loaded.
        InputError: a set is unknown or not there.

    """
    return evaluate_sets(load_model(model_key, device), data_dir, sets, split, limit, mpp, progress)


def evaluate_sets(
    model: CellModel,
    data_dir: Path,
    sets: list[str] | None = None,
    split: str = "val",
    limit: int | None = None,
    mpp: Literal["known", "auto"] = "known",
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationReport:
    """Judge a loaded model on labelled sets.

    Args:
        model: the network.
        data_dir: folder with one sub-folder a set.
        sets: names among ``SETS``; None for all.
        split: "val", or "train" to see how far it has learned by heart.
        limit: at most so many images a set, spread evenly over it.
        mpp: each source's known pixel size, or the estimate from the cells.
        progress: called with (images done, images in all).

    Raises:
        InputError: a set or split is unknown, or its images are not there.

    """
    wanted = list(sets or SETS)
    for name in wanted:
        if name not in SETS:
            raise InputError(f"“{name}” is not a set that can be judged; choose among {', '.join(SETS)}.")
    if split not in ("train", "val"):
        raise InputError(f"“{split}” is not a part of the sets; choose val or train.")
    known = [(n, spread(records(data_dir, split, (n,)), limit)) for n in wanted]
    total, done, seconds = sum(len(r) for _, r in known), 0, 0.0
    figures = {}
    for name, found in known:
        judge: Judge = judge_of(name, float(model.card["min_score"]))
        true = [MPP[r.source] for r in found]
        scales = true if mpp == "known" else estimated_mpp(model, [r.image for r in found])
        for record, scale in zip(found, scales, strict=True):
            rgb = read_rgb(record.image)
            began = time.perf_counter()
            cells = predict_rgb(model, rgb, scale, LOWEST_SCORE)
            seconds += time.perf_counter() - began
            judge.see(record, _in_set_classes(cells, model.classes), (rgb.shape[0], rgb.shape[1]))
            done += 1
            if progress is not None:
                progress(done, total)
        figures[name] = judge.figures() | (_scale_errors(true, scales) if mpp == "auto" else {})
    images = {n: len(r) for n, r in known}
    return EvaluationReport(model.key, model.sha256, split, mpp, model.device, images, figures, seconds)


def _scale_errors(true: list[float], estimated: list[float]) -> dict[str, float]:
    error = np.abs(np.log(np.array(estimated) / np.array(true)))
    return {
        "pixel size off by (median, relative)": float(np.expm1(np.median(error))),
        "pixel size off by (95th percentile, relative)": float(np.expm1(np.percentile(error, 95))),
    }


def _in_set_classes(cells: Instances, classes: tuple[str, ...]) -> Instances:
    """Cells with class numbers of the labelled sets; classes the sets do not know are left out."""
    number = np.array([CLASSES.index(c) if c in CLASSES else -1 for c in classes])[cells.classes]
    at = np.flatnonzero(number >= 0)
    return Instances(
        [cells.outlines[i] for i in at], number[at], cells.scores[at], cells.probs[at], cells.anchors[at]
    )
