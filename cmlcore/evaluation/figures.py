"""Figures of each class by one kind of shape, with their intervals and curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cmlcore.evaluation.field import Field
from cmlcore.evaluation.match_tables import Overlap, collected, match_tables, overlaps_of
from cmlcore.evaluation.matching import Ints, Numbers, Table, best_pairs
from cmlcore.evaluation.precision import Precision, precision_curves
from cmlcore.evaluation.resample import average_precision, estimate, mean_over, ratio, sums
from cmlcore.evaluation.result import (
    ALL,
    IOUS,
    ClassFigures,
    Estimate,
    PrCurve,
    ShapeFigures,
    ShapeKind,
    ThresholdCurve,
)

THRESHOLDS = np.round(np.linspace(0, 1, 101), 2)
AT_50, AT_75 = IOUS.index(0.5), IOUS.index(0.75)


@dataclass(frozen=True, slots=True)
class Sums:
    """What the figures at ``min_score`` are ratios of, per image ``(I,)``; they add up over classes."""

    true: Numbers
    found: Numbers  # judged
    hits: Numbers
    iou: Numbers
    dice: Numbers
    pq_hits: Numbers
    pq_iou: Numbers

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(getattr(self, k) + getattr(other, k) for k in Sums.__slots__))


@dataclass(frozen=True, slots=True)
class Matches:
    """Images matched by one kind of shape.

    Attributes:
        kind: of shape.
        classes: those judged.
        overlap: of each image's cells.
        tables: one a class.
        sums: one a class, at ``min_score``.
        weight: ``(R, I)`` of the bootstrap.
        resampled: AP of each class at each IoU, ``(C, T, R)``; nan where there is no true cell.
        min_score: of the cells that count where no curve is asked.

    """

    kind: ShapeKind
    classes: tuple[str, ...]
    overlap: Sequence[Overlap]
    tables: Sequence[Table]
    sums: Sequence[Sums]
    weight: Numbers
    resampled: Numbers
    min_score: float


def matched(
    fields: Sequence[Field], classes: tuple[str, ...], kind: ShapeKind, weight: Numbers, min_score: float
) -> Matches:
    """Match images that have that kind of shape, and resample their AP.

    Args:
        fields: the images.
        classes: those judged.
        kind: of shape.
        weight: ``(R, I)`` of the bootstrap over these images.
        min_score: of the cells that count where no curve is asked.

    """
    overlap = overlaps_of(fields, kind)
    tables = match_tables(fields, overlap, len(classes))
    resampled = np.stack([_resampled(t, weight) for t in tables])
    pairs = [_panoptic(fields, overlap, c, min_score) for c in range(len(classes))]
    made = [_sums(t, p, min_score) for t, p in zip(tables, pairs, strict=True)]
    return Matches(kind, classes, overlap, tables, made, weight, resampled, min_score)


def shape_figures(fields: Sequence[Field], made: Matches) -> ShapeFigures:
    """All figures by one kind of shape; AP itself from faster-coco-eval."""
    cells = collected(fields, made.kind)
    curves = precision_curves(cells, made.classes, "bbox" if made.kind == "box" else "segm", IOUS)
    aps = {c: [_ap(curves[c], t) for t in range(len(IOUS))] for c in made.classes if c in curves}
    resampled = dict(zip(made.classes, made.resampled, strict=True))
    figures = {
        c: _class_figures(s, aps.get(c), resampled[c], made.weight)
        for c, s in zip(made.classes, made.sums, strict=True)
    }
    total = made.sums[0]
    for s in made.sums[1:]:
        total = total + s
    mean = [float(np.mean(v)) for v in zip(*aps.values(), strict=True)] if aps else None
    of_all = mean_over(made.resampled)  # (T, R)
    figures[ALL] = _class_figures(total, mean, of_all, made.weight)
    thresholds = {c: threshold_curve([t]) for c, t in zip(made.classes, made.tables, strict=True)}
    thresholds[ALL] = threshold_curve(made.tables)
    return ShapeFigures(
        len(fields),
        figures[ALL].ap50,
        figures[ALL].ap,
        figures,
        {c: _pr_curve(curve) for c, curve in curves.items()},
        thresholds,
    )


def _resampled(table: Table, weight: Numbers) -> Numbers:
    """AP at each IoU, ``(T, R)``."""
    out = np.empty((len(IOUS), len(weight)))
    for t in range(len(IOUS)):
        keep = ~table.ignored[t]
        out[t] = average_precision(table.hit[t, keep], table.image[keep], table.true, weight)
    return out


def _sums(table: Table, panoptic: tuple[Numbers, Numbers], min_score: float) -> Sums:
    n = len(table.true)
    judged = table.judged(min_score)
    image, hit, iou = table.image[judged], table.hit[AT_50, judged], table.iou[judged]
    return Sums(
        table.true.astype(np.float64),
        sums(np.ones(len(image)), image, n),
        sums(hit, image, n),
        sums(iou, image, n),
        sums(2 * iou / (1 + iou), image, n),  # Dice from IoU, pair by pair
        *panoptic,
    )


def _panoptic(
    fields: Sequence[Field], overlap: Sequence[Overlap], cls: int, min_score: float
) -> tuple[Numbers, Numbers]:
    """Cells matched above IoU 0.5, best overlap first, and the sum of their IoU, per image."""
    hits, total = np.zeros(len(fields)), np.zeros(len(fields))
    for i, (field, over) in enumerate(zip(fields, overlap, strict=True)):
        found = np.flatnonzero((field.found.classes == cls) & (field.scores >= min_score))
        own = over.iou[np.ix_(found, np.flatnonzero(field.true.classes == cls))]
        pairs = best_pairs(own, 0.5, strict=True)
        hits[i] = len(pairs)
        total[i] = sum(own[d, g] for d, g in pairs)
    return hits, total


def _class_figures(s: Sums, aps: Sequence[float] | None, resampled: Numbers, weight: Numbers) -> ClassFigures:
    """Figures of one class; ``aps`` at each IoU, ``resampled`` ``(T, R)``."""

    def ap(at: slice) -> Estimate:
        if aps is None:
            return Estimate(None)
        return estimate(float(np.mean(aps[at])), resampled[at].mean(axis=0))

    panoptic = (s.true + s.found) / 2  # tp + fp / 2 + fn / 2
    return ClassFigures(
        true=int(s.true.sum()),
        found=int(s.found.sum()),
        ap50=ap(slice(AT_50, AT_50 + 1)),
        ap75=ap(slice(AT_75, AT_75 + 1)),
        ap=ap(slice(None)),
        precision=ratio(s.hits, s.found, weight),
        recall=ratio(s.hits, s.true, weight),
        f1=ratio(2 * s.hits, s.true + s.found, weight),
        iou=ratio(s.iou, s.hits, weight),
        dice=ratio(s.dice, s.hits, weight),
        pq=ratio(s.pq_iou, panoptic, weight),
        sq=ratio(s.pq_iou, s.pq_hits, weight),
        dq=ratio(s.pq_hits, panoptic, weight),
        ap_by_iou=tuple(aps or ()),
    )


def _ap(curve: Precision, t: int) -> float:
    return float(curve.precision[t].mean())


def _pr_curve(curve: Precision) -> PrCurve:
    precision, score = curve.precision[AT_50], curve.score[AT_50]
    reached = [float(s) if p > 0 else None for p, s in zip(precision, score, strict=True)]
    return PrCurve(
        tuple(np.round(np.linspace(0, 1, 101), 2).tolist()), tuple(precision.tolist()), tuple(reached)
    )


def threshold_curve(tables: Sequence[Table], at: Numbers = THRESHOLDS) -> ThresholdCurve:
    """Precision, recall and F1 of the cells of at least each score, matched at IoU 0.5."""
    scores, hits = judged_scores(tables)
    true = int(sum(t.true.sum() for t in tables))
    left = _at_least(scores, at)
    right = np.concatenate([[0], np.cumsum(hits)])[left]
    best = best_f1(scores, hits, true)
    return ThresholdCurve(
        tuple(at.tolist()),
        tuple(_share(r, n) for r, n in zip(right, left, strict=True)),
        tuple(_share(r, true) for r in right),
        tuple(_share(2 * r, n + true) if true else None for r, n in zip(right, left, strict=True)),
        *(best or (None, None)),
    )


def judged_scores(tables: Sequence[Table]) -> tuple[Numbers, Ints]:
    """Scores of the judged cells of several classes, falling, and whether each is right (0 or 1)."""
    scores = np.concatenate([t.scores[~t.ignored[AT_50]] for t in tables])
    hits = np.concatenate([t.hit[AT_50, ~t.ignored[AT_50]] for t in tables])
    order = np.argsort(-scores, kind="stable")
    return scores[order], hits[order].astype(np.int64)


def best_f1(scores: Numbers, hits: Ints, true: int) -> tuple[float, float] | None:
    """The score from which F1 is highest, and that F1; of equals the highest score. None without cells.

    Args:
        scores: of the judged cells, falling.
        hits: whether each is right.
        true: cells to be found.

    """
    if not true or not len(scores):
        return None
    f1 = 2 * np.cumsum(hits) / (np.arange(1, len(scores) + 1) + true)
    last = np.append(scores[1:] != scores[:-1], True)  # cells of one score stay or go together
    k = int(np.argmax(np.where(last, f1, -1)))
    return float(scores[k]), float(f1[k])


def _at_least(scores: Numbers, at: Numbers) -> Ints:
    """How many of the falling scores reach each threshold."""
    return np.asarray(np.searchsorted(-scores, -at, side="right"), np.int64)


def _share(top: float, bottom: float) -> float | None:
    return float(top / bottom) if bottom else None
