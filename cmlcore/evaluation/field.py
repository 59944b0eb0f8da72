"""One labelled image made ready to be judged: true cells, found cells, and the places that are not judged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import shapely

from cmlcore.errors import InputError
from cmlcore.evaluation.labels import Labels, cut_by_edge, polygon, read_labels, touching
from cmlcore.evaluation.mapping import Mapping
from cmlcore.evaluation.matching import Flags, Ints, Numbers
from cmlcore.evaluation.shapes import Rle, rle_of_box, rle_of_outline
from cmlcore.ground_truth.records import Floats, Record, completeness

Edges = Literal["auto", "judge", "ignore"]
_LARGEST = 1 << 32  # pixels that a run-length mask can count


@dataclass(frozen=True, slots=True)
class FoundCells:
    """What a model found in one image, in image pixels: names, scores ``(N,)``, outlines ``(V, 2)``."""

    names: tuple[str, ...]
    scores: Numbers
    outlines: Sequence[Floats]


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells, or places, of one image: class numbers ``(N,)``, boxes ``(N, 4)``, masks where they count."""

    classes: Ints
    boxes: Numbers
    masks: tuple[Rle, ...] | None


@dataclass(frozen=True, slots=True)
class Field:
    """One image, or one base ROI.

    Attributes:
        source: microscope or set.
        size: (H, W).
        complete: ``(C,)``, whether each class judged is completely labelled here.
        true: cells to be found; the masks are there where the outlines of all are known.
        area: ``(G,)`` of the true cells, in µm², or in pixels where the pixel size is unknown.
        cut: ``(G,)``, cut by the edge.
        touching: ``(G,)``, touches or overlaps another labelled cell.
        found: cells of classes that are judged.
        scores: ``(D,)``.
        places: not judged: a found cell of their class that lies in one and is no true cell is let pass.

    """

    source: str
    size: tuple[int, int]
    complete: tuple[bool, ...]
    true: Cells
    area: Numbers
    cut: Flags
    touching: Flags
    found: Cells
    scores: Numbers
    places: Cells


def field_of(
    record: Record,
    size: tuple[int, int],
    found: FoundCells,
    mapping: Mapping,
    edges: Edges = "auto",
    mpp: float | None = None,
) -> Field:
    """Hold what was found in an image against its labels.

    Not judged are clusters, true cells of a class that nobody judges, whatever the edge cuts where ``edges``
    says so, and the whole image for a class of which not every cell is labelled.

    Args:
        record: the labels; without base ROIs or with one, whose edge then is the edge.
        size: (H, W) of the image.
        found: what was found, in the record's pixels; outside the ROI nothing counts.
        mapping: the classes judged.
        edges: "judge" cells that the edge cuts, "ignore" them, or "auto": ignore them where the labels are a
            mask file, in which some have no mask. What the edge of a base ROI cuts is never judged.
        mpp: µm per pixel, for areas.

    Raises:
        InputError: the mask file cannot be read, or the region is too large.

    """
    h, w = size
    if h * w >= _LARGEST:
        raise InputError("The region is too large to be judged at once; draw smaller base ROIs.")
    roi = polygon(record.rois[0]) if record.rois else None
    labels = read_labels(record, h, w)
    ignore_cut = roi is not None or edges == "ignore" or (edges == "auto" and record.mask is not None)
    cut = cut_by_edge(labels.boxes, labels.shapes, size, roi)
    classes = mapping.indices(labels.names)
    aside = (classes < 0) | (cut & ignore_cut)
    known = labels.masks if labels.masks is not None and labels.outlined[~aside].all() else None
    places = _Places(size, known is not None)
    complete = completeness(record, mapping.classes)
    _unlabelled(places, record, labels, complete)
    for i in np.flatnonzero(aside):
        where = range(len(complete)) if classes[i] < 0 else [int(classes[i])]
        places.add(where, labels.boxes[i], None if known is None else known[i])
    mine, scores, mine_cut = _found(found, mapping, size, roi, with_masks=known is not None)
    for i in np.flatnonzero(mine_cut & ignore_cut):
        places.add([int(mine.classes[i])], mine.boxes[i], None if mine.masks is None else mine.masks[i])
    keep = np.flatnonzero(~aside)
    masks = None if known is None else tuple(known[i] for i in keep)
    true = Cells(classes[keep], labels.boxes[keep], masks)
    area = shapely.area(labels.shapes)[keep] * (mpp or 1.0) ** 2
    near = touching(labels.shapes)[keep]
    return Field(record.source, size, complete, true, area, cut[keep], near, mine, scores, places.made())


class _Places:
    """Gathers places that are not judged."""

    def __init__(self, size: tuple[int, int], with_masks: bool) -> None:
        self.size, self._with_masks = size, with_masks
        self._classes: list[int] = []
        self._boxes: list[Numbers] = []
        self._masks: list[Rle] = []

    def add(self, classes: Iterable[int], box: Numbers, mask: Rle | None) -> None:
        """A place for found cells of these classes; without a mask, all of the box."""
        for c in classes:
            self._classes.append(c)
            self._boxes.append(box)
            if self._with_masks:
                self._masks.append(mask if mask is not None else rle_of_box(box, *self.size))

    def made(self) -> Cells:
        """All of them."""
        boxes = np.array(self._boxes, np.float64).reshape(-1, 4)
        masks = tuple(self._masks) if self._with_masks else None
        return Cells(np.array(self._classes, np.int64), boxes, masks)


def _unlabelled(places: _Places, record: Record, labels: Labels, complete: tuple[bool, ...]) -> None:
    """Clusters for all classes, and everything for the classes that are not completely labelled."""
    h, w = places.size
    for k, box in enumerate(record.clusters):
        mask = None if labels.clusters is None else labels.clusters[k]
        places.add(range(len(complete)), box.astype(np.float64), mask)
    places.add([c for c, whole in enumerate(complete) if not whole], np.array([0.0, 0.0, w, h]), None)


def _found(
    found: FoundCells,
    mapping: Mapping,
    size: tuple[int, int],
    roi: shapely.Geometry | None,
    *,
    with_masks: bool,
) -> tuple[Cells, Numbers, Flags]:
    """Found cells of the classes judged inside the ROI, their scores, and which are cut by the edge."""
    classes = mapping.indices(found.names)
    shapes = np.empty(len(classes), object)
    judged = classes >= 0
    if roi is not None:
        shapes[:] = [polygon(o) for o in found.outlines]
        judged &= shapely.intersects(roi, shapes)
    at = np.flatnonzero(judged)
    outlines = [found.outlines[i] for i in at.tolist()]
    boxes = np.array([[*o.min(0), *o.max(0)] for o in outlines], np.float64).reshape(-1, 4)
    masks = tuple(rle_of_outline(o, *size) for o in outlines) if with_masks else None
    cut = cut_by_edge(boxes, shapes[at], size, roi)
    return Cells(classes[at], boxes, masks), np.asarray(found.scores, np.float64)[at], cut
