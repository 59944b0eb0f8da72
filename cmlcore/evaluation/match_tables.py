"""All images matched: one table a class, from which every figure and every resample is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cmlcore.evaluation.field import Cells, Field
from cmlcore.evaluation.matching import Ints, Matched, Numbers, Table, match
from cmlcore.evaluation.precision import Collected
from cmlcore.evaluation.result import IOUS, ShapeKind
from cmlcore.evaluation.shapes import overlaps


def fields_of_kind(fields: Sequence[Field], kind: ShapeKind) -> list[int]:
    """Which images can be judged by that shape: all by boxes, by masks those with true outlines."""
    return [i for i, f in enumerate(fields) if kind == "box" or f.true.masks is not None]


@dataclass(frozen=True, slots=True)
class Overlap:
    """How the found cells of one image lie.

    Attributes:
        iou: ``(D, G)`` of all found with all true cells, classes mixed.
        covered: ``(D,)``, largest share of each that one place not judged for its class covers.

    """

    iou: Numbers
    covered: Numbers


def overlaps_of(fields: Sequence[Field], kind: ShapeKind) -> list[Overlap]:
    """The overlap of each image's cells by one kind of shape."""
    return [
        Overlap(overlaps(_shapes(f.found, kind), _shapes(f.true, kind)), _covered(f, kind)) for f in fields
    ]


def match_tables(fields: Sequence[Field], overlap: Sequence[Overlap], classes: int) -> list[Table]:
    """Match every image and put the found cells of each class in the order of their score.

    Args:
        fields: the images; true cells are numbered through all of them.
        overlap: of each.
        classes: number of classes judged.

    """
    rows: list[list[_Rows]] = [[] for _ in range(classes)]
    first = 0
    for number, (field, over) in enumerate(zip(fields, overlap, strict=True)):
        for c in range(classes):
            found = np.flatnonzero(field.found.classes == c)
            true = np.flatnonzero(field.true.classes == c)
            own = over.iou[np.ix_(found, true)]
            made = match(own, over.covered[found], field.scores[found])
            rows[c].append(_Rows(number, field, found, true, over.iou, made, first))
        first += len(field.true.classes)
    return [_table(r) for r in rows]


def _covered(field: Field, kind: ShapeKind) -> Numbers:
    """Largest share of each found cell that one place for its class covers."""
    out = np.zeros(len(field.scores))
    for c in np.unique(field.places.classes):
        found, there = np.flatnonzero(field.found.classes == c), np.flatnonzero(field.places.classes == c)
        cells, places = _shapes(field.found, kind), _shapes(field.places, kind)
        share = overlaps(
            [cells[i] for i in found.tolist()], [places[i] for i in there.tolist()], of_found=True
        )
        if share.size:
            out[found] = share.max(axis=1)
    return out


def _shapes(cells: Cells, kind: ShapeKind) -> Sequence[object]:
    if kind == "box":
        return list(cells.boxes)
    assert cells.masks is not None  # noqa: S101  (``fields_of_kind`` let it pass)
    return cells.masks


class _Rows:
    """The rows that one class in one image adds to its table."""

    def __init__(
        self,
        number: int,
        field: Field,
        found: Ints,
        true: Ints,
        iou: Numbers,
        made: Matched,
        first: int,
    ) -> None:
        self.true = len(true)
        self.scores = field.scores[found]
        self.image = np.full(len(found), number)
        self.hit, self.ignored = made.truth >= 0, made.ignored
        at = made.truth[0]
        hit = at >= 0
        self.truth, self.iou = np.full(len(found), -1), np.zeros(len(found))
        self.truth[hit] = true[at[hit]] + first
        self.iou[hit] = iou[found[hit], true[at[hit]]]
        self.near = np.full(len(found), -1)
        if iou.shape[1] and len(found):
            best = iou[found].argmax(axis=1)
            self.near = np.where(iou[found, best] > 0, best + first, -1)


def _table(rows: list[_Rows]) -> Table:
    scores = np.concatenate([r.scores for r in rows]) if rows else np.zeros(0)
    order = np.argsort(-scores, kind="stable")
    wide = np.zeros((len(IOUS), 0), np.bool_)
    return Table(
        scores[order],
        np.concatenate([r.image for r in rows] or [np.zeros(0, int)])[order],
        np.concatenate([wide, *(r.hit for r in rows)], axis=1)[:, order],
        np.concatenate([wide, *(r.ignored for r in rows)], axis=1)[:, order],
        np.concatenate([r.iou for r in rows] or [np.zeros(0)])[order],
        np.concatenate([r.truth for r in rows] or [np.zeros(0, int)])[order],
        np.concatenate([r.near for r in rows] or [np.zeros(0, int)])[order],
        np.array([r.true for r in rows], np.int64),
    )


def collected(fields: Sequence[Field], kind: ShapeKind) -> Collected:
    """The same images as COCO wants them; places that are not judged become crowds."""
    out = Collected()
    for field in fields:
        image = out.image(*field.size)
        for cls, shape in zip(field.true.classes, _shapes(field.true, kind), strict=True):
            out.truth(image, int(cls), shape)
        for cls, shape in zip(field.places.classes, _shapes(field.places, kind), strict=True):
            out.truth(image, int(cls), shape, ignored=True)
        found = zip(field.found.classes, field.scores, _shapes(field.found, kind), strict=True)
        for cls, score, shape in found:
            out.found(image, int(cls), float(score), shape)
    return out
