"""Counts against counts: how far the found number of cells of an image is from the true one.

Bland and Altman, Lancet 1986 (327, 307-310): the mean difference, and limits that hold 95 % of differences.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cmlcore.evaluation.field import Field
from cmlcore.evaluation.matching import Numbers, Table
from cmlcore.evaluation.resample import estimate, sums
from cmlcore.evaluation.result import CountError, ImageRow

LIMIT = 1.96


def image_rows(
    fields: Sequence[Field], classes: tuple[str, ...], tables: Sequence[Table], min_score: float
) -> list[ImageRow]:
    """True and found cells of each image; None for a class that is not completely labelled there."""
    found = [found_in_images(t, min_score) for t in tables]
    rows = []
    for i, field in enumerate(fields):
        whole = dict(zip(classes, field.complete, strict=True))
        true = {c: int(t.true[i]) for c, t in zip(classes, tables, strict=True)}
        seen = {c: int(f[i]) for c, f in zip(classes, found, strict=True)}
        rows.append(
            ImageRow(
                i + 1,
                field.source,
                {c: n if whole[c] else None for c, n in true.items()},
                {c: n if whole[c] else None for c, n in seen.items()},
            )
        )
    return rows


def found_in_images(table: Table, min_score: float) -> Numbers:
    """Judged cells of at least ``min_score`` in each image, ``(I,)``."""
    judged = table.judged(min_score)
    return sums(np.ones(judged.sum()), table.image[judged], len(table.true))


def count_error(cls: str, rows: Sequence[ImageRow], weight: Numbers) -> CountError | None:
    """Bias and limits of agreement of one class; None where no image has it completely labelled.

    Args:
        cls: the class.
        rows: of all images.
        weight: ``(R, I)`` of the bootstrap over them.

    """
    points = []
    at = []
    for i, row in enumerate(rows):
        true, found = row.true[cls], row.found[cls]
        if true is not None and found is not None:
            points.append((row.number, true, found))
            at.append(i)
    if not points:
        return None
    values = np.array(points, np.float64)
    d = values[:, 2] - values[:, 1]
    plain = _moments(d, np.ones((1, len(d))))[:, 0]
    drawn = _moments(d, weight[:, at])
    bias, lower, upper, absolute = (estimate(v, r) for v, r in zip(plain[:4], drawn[:4], strict=True))
    sd = float(plain[4]) if len(d) > 1 else None
    return CountError(len(d), bias, sd, lower, upper, absolute, tuple(points))


def _moments(d: Numbers, weight: Numbers) -> Numbers:
    """Mean, lower and upper limit, mean absolute, and standard deviation (n - 1): ``(5, R)``."""
    n = weight.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = weight @ d / n
        sd = np.sqrt(np.maximum(weight @ d**2 - n * mean**2, 0) / (n - 1))
        return np.stack([mean, mean - LIMIT * sd, mean + LIMIT * sd, weight @ np.abs(d) / n, sd])
