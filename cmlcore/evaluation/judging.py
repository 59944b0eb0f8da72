"""From labelled images with what was found there to an ``Evaluation``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cmlcore.classes import label
from cmlcore.errors import InputError
from cmlcore.evaluation.agreement import count_error, image_rows
from cmlcore.evaluation.confusion import confusion
from cmlcore.evaluation.field import Edges, Field, FoundCells, field_of
from cmlcore.evaluation.figures import AT_50, matched, shape_figures
from cmlcore.evaluation.mapping import Mapping
from cmlcore.evaluation.match_tables import fields_of_kind
from cmlcore.evaluation.reliability import calibration
from cmlcore.evaluation.resample import weights
from cmlcore.evaluation.result import ALL, IOUS, Evaluation, Manifest, ShapeFigures, ShapeKind
from cmlcore.evaluation.subsets import sources, subsets
from cmlcore.ground_truth.records import Record

KINDS: tuple[ShapeKind, ...] = ("box", "mask")


@dataclass(frozen=True, slots=True)
class Labelled:
    """One image and what was found there.

    Attributes:
        record: its labels, with one base ROI at most.
        size: (H, W).
        found: cells in the record's pixels.
        mpp: µm per pixel, where known.

    """

    record: Record
    size: tuple[int, int]
    found: FoundCells
    mpp: float | None


@dataclass(frozen=True, slots=True)
class Options:
    """What decides the figures besides the cells.

    Attributes:
        min_score: cells from here on count where no curve is asked.
        edges: whether cells cut by the image's edge are judged, see ``field_of``.
        subsets: whether to look at sizes, clumps and cut cells.
        bootstrap: resamples of the images; 0: no intervals.
        seed: of the resamples.

    """

    min_score: float
    edges: Edges = "auto"
    subsets: bool = True
    bootstrap: int = 1000
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """As the manifest holds them."""
        own = {k: getattr(self, k) for k in ("min_score", "edges", "bootstrap", "seed")}
        return {**own, "iou": IOUS[AT_50]}


def one_roi_each(record: Record) -> list[Record]:
    """The record once for each of its base ROIs; as it is where it has none."""
    return [replace(record, rois=(roi,)) for roi in record.rois] or [record]


def evaluate_cells(
    images: Iterable[Labelled],
    mapping: Mapping,
    options: Options,
    manifest: Manifest,
    notes: Sequence[str] = (),
) -> Evaluation:
    """Judge cells that were found in labelled images.

    Args:
        images: at least one.
        mapping: the classes judged.
        options: what decides the figures besides the cells.
        manifest: facts for the result.
        notes: sentences that go before our own.

    Raises:
        InputError: there is no image, or a mask file cannot be read.

    """
    fields, known = fields_of(images, mapping, options.edges)
    shapes: dict[str, ShapeFigures] = {}
    for kind in KINDS:
        at = fields_of_kind(fields, kind)
        if at:
            some = [fields[i] for i in at]
            made = matched(some, mapping.classes, kind, _weight(some, options), options.min_score)
            shapes[kind] = shape_figures(some, made)
            if kind == "box":
                boxes = made
    rows = image_rows(fields, mapping.classes, boxes.tables, options.min_score)
    errors = {c: count_error(c, rows, boxes.weight) for c in mapping.classes}
    reliability = {
        c: calibration([t], boxes.weight, options.min_score)
        for c, t in zip(mapping.classes, boxes.tables, strict=True)
    }
    reliability[ALL] = calibration(boxes.tables, boxes.weight, options.min_score)
    return Evaluation(
        manifest,
        mapping.classes,
        mapping.to_json(),
        (*notes, *mapping.notes(), *_notes(fields, mapping, shapes)),
        tuple(rows),
        shapes,
        confusion(fields, boxes.overlap, mapping.classes, options.min_score),
        {c: e for c, e in errors.items() if e is not None},
        reliability,
        tuple(subsets(fields, boxes, "µm²" if known else "px²")) if options.subsets else (),
        sources(fields, boxes, options.bootstrap, options.seed),
        loss_note="The loss is known for a model with its training run only.",
    )


def fields_of(images: Iterable[Labelled], mapping: Mapping, edges: Edges) -> tuple[list[Field], bool]:
    """All images made ready to be judged, and whether the pixel size of each is known.

    Raises:
        InputError: there is no image, or a mask file cannot be read.

    """
    fields, known = [], True
    for im in images:
        fields.append(field_of(im.record, im.size, im.found, mapping, edges, im.mpp))
        known &= im.mpp is not None
    if not fields:
        raise InputError("There is no labelled image to judge by; choose other data or another part of it.")
    return fields, known


def _weight(fields: Sequence[Field], options: Options) -> Any:
    return weights(len(fields), options.bootstrap, options.seed)


def _notes(fields: Sequence[Field], mapping: Mapping, shapes: dict[str, ShapeFigures]) -> list[str]:
    said = []
    for c, cls in enumerate(mapping.classes):
        partial = sum(not f.complete[c] for f in fields)
        if partial:
            said.append(
                f"{label(cls)}: not every one is labelled in {partial} of {len(fields)} images; "
                "there a found cell that matches no label is not judged."
            )
        if not any((f.true.classes == c).any() for f in fields):
            said.append(f"{label(cls)}: no labelled cell, so no recall and no average precision.")
    if "mask" not in shapes:
        said.append("No true outline is known: boxes only are judged, masks are not.")
    elif shapes["mask"].images < len(fields):
        said.append(
            f"True outlines are known in {shapes['mask'].images} of {len(fields)} images; "
            "masks are judged there."
        )
    return said
