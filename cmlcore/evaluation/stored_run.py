"""Every figure of a stored run, against ground truth on its slide."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from cmlcore.cells import CellTable
from cmlcore.cells.rois import Polygon, roi_shape
from cmlcore.errors import InputError, RunError
from cmlcore.evaluation.facts import LIBRARIES, labels_hash, now
from cmlcore.evaluation.field import FoundCells
from cmlcore.evaluation.judging import Labelled, Options, evaluate_cells, one_roi_each
from cmlcore.evaluation.mapping import label_names, map_classes
from cmlcore.evaluation.result import Evaluation, Manifest
from cmlcore.ground_truth.records import Floats, Record
from cmlcore.versions import versions

UNIDENTIFIED = "unidentified"


def evaluate_run(
    run: Path | CellTable,
    records: Record | Sequence[Record],
    classes: Sequence[str] | None = None,
    *,
    min_score: float | None = None,
    subsets: bool = True,
    bootstrap: int = 1000,
    seed: int = 0,
    data: str = "base ROIs",
) -> Evaluation:
    """Judge the cells of a stored run against ground truth on the same slide.

    Args:
        run: folder of the run, with its manifest, or its cells.
        records: labels in level-0 pixels of the run's scene, with the base ROIs within which every cell is
            labelled; where a record has none, all of the scene is.
        classes: as in ``evaluate_records``, like all that follow.
        min_score: of the cells that count; None: the run's own.
        subsets: whether to look at sizes, clumps and cut cells.
        bootstrap: resamples of the base ROIs.
        seed: of the resamples.
        data: name of the ground truth, for the manifest.

    Raises:
        RunError: the run is not finished, or damaged.
        InputError: there is no ground truth, or it has no class in common with the run.

    """
    began = time.perf_counter()
    table = run if isinstance(run, CellTable) else CellTable(run)
    records = [records] if isinstance(records, Record) else records
    told = read_manifest(table.run_dir)
    floor = float(told["settings"]["min_score"])
    options = Options(floor if min_score is None else float(min_score), "auto", subsets, bootstrap, seed)
    names = tuple(c for c in table.classes if c != UNIDENTIFIED)
    mapping = map_classes(names, label_names(records), classes)
    mpp = None if table.mpp is None else table.mpp.mean
    width, height = told["size_l0"]
    whole = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    records = [replace(r, rois=common_regions(r.rois, told.get("rois_l0"))) for r in records]
    images = (
        _in_roi(table, one, one.rois[0] if one.rois else whole, mpp)
        for r in records
        for one in one_roi_each(r)
    )
    facts = Manifest(
        kind="run",
        model=told["model"],
        title=told.get("model_title", told["model"]),
        model_sha256=told["model_sha256"],
        data=data,
        data_sha256=labels_hash(records, told.get("slide_sha256", "")),
        settings=options.to_json() | {"lowest_score": floor},
        versions=versions(*LIBRARIES)
        | {k: v for k, v in told.get("versions", {}).items() if k in ("torch", "timm")},
        device=str(told.get("device", "")),
        created=now(),
        seconds=0.0,
    )
    notes = [f"The run holds cells of score {floor:g} and more; average precision looks no lower."]
    made = evaluate_cells(images, mapping, options, facts, notes)
    return replace(made, manifest=replace(facts, seconds=round(time.perf_counter() - began, 1)))


def common_regions(labelled: tuple[Floats, ...], analysed: Sequence[Polygon] | None) -> tuple[Floats, ...]:
    """What is both labelled and analysed, as outlines; ``()`` where both are the whole scene.

    Raises:
        InputError: nothing is both.

    """
    if not analysed:
        return labelled
    both = roi_shape(analysed)
    if labelled:
        both = shapely.intersection(both, roi_shape([o.tolist() for o in labelled]))
    parts = [p for p in shapely.get_parts(both) if p.geom_type == "Polygon" and p.area >= 1]
    if not parts:
        raise InputError("The run and the ground truth have no region in common; choose other ground truth.")
    return tuple(np.asarray(p.exterior.coords[:-1], np.float32) for p in parts)


def read_manifest(run_dir: Path) -> dict[str, Any]:
    """The manifest of a finished run.

    Raises:
        RunError: it has none.

    """
    try:
        return dict(json.loads((run_dir / "manifest.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as e:
        raise RunError("The run has no manifest; wait until it is finished, or start it again.") from e


def _in_roi(table: CellTable, record: Record, roi_l0: Floats, mpp: float | None) -> Labelled:
    """The labels and the found cells that one base ROI meets, in pixels of a frame that holds them all."""
    x0, y0, x1, y1 = (float(v) for v in (*roi_l0.min(0), *roi_l0.max(0)))
    rows = table.arrow(
        ("cls", "score", "outline_l0"),
        where="x0_l0 <= ? AND x1_l0 >= ? AND y0_l0 <= ? AND y1_l0 >= ?",
        params=[x1, x0, y1, y0],
    )
    outlines = [np.asarray(o, np.float32).reshape(-1, 2) for o in rows["outline_l0"].to_pylist()]
    box = np.array([x0, y0, x1, y1])
    meets = (record.boxes[:, :2] <= box[2:]).all(1) & (record.boxes[:, 2:] >= box[:2]).all(1)
    at = np.flatnonzero(meets)
    corners = np.concatenate([roi_l0, record.boxes[at].reshape(-1, 2), *outlines])
    shift = np.floor(corners.min(0)).astype(np.float32)
    width, height = np.ceil(corners.max(0) - shift).astype(int).tolist()
    moved = replace(
        record,
        boxes=_shifted(record.boxes[at], shift),
        names=tuple(record.names[i] for i in at),
        outlines=tuple(None if (o := record.outlines[i]) is None else o - shift for i in at)
        if record.outlines
        else (),
        clusters=_shifted(record.clusters, shift),
        rois=(roi_l0 - shift,),
    )
    scores = np.asarray(rows["score"], np.float64)
    found = FoundCells(tuple(rows["cls"].to_pylist()), scores, [o - shift for o in outlines])
    return Labelled(moved, (height, width), found, mpp)


def _shifted(boxes: NDArray[np.float32], shift: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(boxes - np.tile(shift, 2), np.float32)
