"""Every figure of a network on labelled images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from cmlcore.errors import RunCancelledError
from cmlcore.evaluation.facts import LIBRARIES, data_hash, now
from cmlcore.evaluation.field import Edges, FoundCells
from cmlcore.evaluation.judging import Labelled, Options, evaluate_cells, one_roi_each
from cmlcore.evaluation.mapping import label_names, map_classes
from cmlcore.evaluation.matching import LOWEST_SCORE
from cmlcore.evaluation.result import Evaluation, Manifest
from cmlcore.ground_truth.records import Record
from cmlcore.predict import estimated_mpp, predict_rgb, read_rgb
from cmlcore.versions import versions
from models.base import CellModel


def evaluate_records(
    model: CellModel,
    records: Sequence[Record],
    classes: Sequence[str] | None = None,
    *,
    min_score: float | None = None,
    subsets: bool = True,
    bootstrap: int = 1000,
    edges: Edges = "auto",
    mpp: Literal["known", "auto"] = "known",
    seed: int = 0,
    data: str = "",
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Evaluation:
    """Run a network over labelled images and judge what it finds.

    Args:
        model: the network.
        records: the images; at least one.
        classes: judge these instead of the finest classes that the model and the labels both know.
        min_score: of the cells that count; None: the model card's.
        subsets: as ``bootstrap``, ``edges`` and ``seed``: see ``Options``.
        bootstrap: resamples of the images; 0: no intervals.
        edges: whether cells cut by the image's edge are judged.
        mpp: "known" (each image's own; estimated from the cells where nobody said it), or "auto".
        seed: of the resamples.
        data: name of the data, for the manifest.
        progress: called with (images done, images in all).
        cancelled: asked before each image.

    Raises:
        InputError: there is no image, one cannot be read, or model and labels have no class in common.
        RunCancelledError: ``cancelled`` said so.

    """
    began = time.perf_counter()
    least = float(model.card["min_score"]) if min_score is None else float(min_score)
    options = Options(least, edges, subsets, bootstrap, seed)
    mapping = map_classes(model.classes, label_names(records), classes)
    scales, estimated = pixel_sizes(model, records, mpp)
    images = found_in(model, records, scales, progress, cancelled)
    facts = Manifest(
        kind="model",
        model=model.key,
        title=str(model.card.get("title", model.key)),
        model_sha256=model.sha256,
        data=data,
        data_sha256=data_hash(records),
        settings=options.to_json() | {"mpp": mpp, "lowest_score": LOWEST_SCORE},
        versions=versions(*LIBRARIES),
        device=model.device,
        created=now(),
        seconds=0.0,
    )
    notes = [f"The pixel size of {estimated} image(s) is estimated from the cells."] if estimated else []
    made = evaluate_cells(images, mapping, options, facts, notes)
    return replace(made, manifest=replace(facts, seconds=round(time.perf_counter() - began, 1)))


def found_in(
    model: CellModel,
    records: Sequence[Record],
    scales: Sequence[float],
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[Labelled]:
    """What a network finds in labelled images, one base ROI after the other.

    Raises:
        InputError: an image cannot be read.
        RunCancelledError: ``cancelled`` said so.

    """
    for i, (record, scale) in enumerate(zip(records, scales, strict=True)):
        if cancelled is not None and cancelled():
            raise RunCancelledError("The evaluation was cancelled; start it again.")
        rgb = read_rgb(record.image)
        cells = predict_rgb(model, rgb, scale, LOWEST_SCORE)
        names = tuple(model.classes[c] for c in cells.classes)
        found = FoundCells(names, cells.scores.astype(np.float64), cells.outlines)
        for one in one_roi_each(record):
            yield Labelled(one, (rgb.shape[0], rgb.shape[1]), found, scale)
        if progress is not None:
            progress(i + 1, len(records))


def pixel_sizes(
    model: CellModel, records: Sequence[Record], mpp: Literal["known", "auto"]
) -> tuple[list[float], int]:
    """µm per pixel of each image, and how many of them are estimates."""
    scales = [None if mpp == "auto" else r.mpp for r in records]
    unknown = [i for i, s in enumerate(scales) if s is None]
    guesses = dict(zip(unknown, estimated_mpp(model, [records[i].image for i in unknown]), strict=True))
    return [guesses[i] if s is None else s for i, s in enumerate(scales)], len(unknown)
