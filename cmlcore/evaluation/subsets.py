"""Some of the cells only: by size, in clumps or alone, cut by the edge or whole; and by source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cmlcore.evaluation.field import Field
from cmlcore.evaluation.figures import Matches
from cmlcore.evaluation.matching import Flags, Ints, Numbers, Table
from cmlcore.evaluation.resample import average_precision, estimate, mean_over, ratio, sums, weights
from cmlcore.evaluation.result import ALL, SourceFigures, Subset

SIZES = ("small", "medium", "large")


@dataclass(frozen=True, slots=True)
class _True:
    """The true cells of all images, in the numbers that ``Table.truth`` and ``Table.near`` use: ``(G,)``."""

    classes: Ints
    image: Ints
    area: Numbers
    touching: Flags
    cut: Flags


def subsets(fields: Sequence[Field], made: Matches, unit: str) -> list[Subset]:
    """Every subset of every class that has cells; sizes are tertiles of the class's true areas.

    Args:
        fields: the images.
        made: them matched.
        unit: of the areas.

    """
    true = _True(
        np.concatenate([f.true.classes for f in fields]),
        np.repeat(np.arange(len(fields)), [len(f.true.classes) for f in fields]),
        np.concatenate([f.area for f in fields]),
        np.concatenate([f.touching for f in fields]),
        np.concatenate([f.cut for f in fields]),
    )
    kinds = (("touching", true.touching), ("single", ~true.touching), ("cut", true.cut), ("whole", ~true.cut))
    out = []
    for c, cls in enumerate(made.classes):
        own = true.classes == c
        out += [
            _subset(cls, name, [c], own & inside, true, made, low, high, unit)
            for name, inside, low, high in _tertiles(true.area, own)
        ]
        out += [_subset(cls, name, [c], own & inside, true, made) for name, inside in kinds]
    every = range(len(made.classes))
    out += [_subset(ALL, name, every, inside, true, made) for name, inside in kinds]
    return [s for s in out if s.true]


def _tertiles(area: Numbers, own: Flags) -> Iterator[tuple[str, Flags, float, float | None]]:
    if own.sum() < len(SIZES):
        return
    low, middle, high = np.quantile(area[own], [0, 1 / 3, 2 / 3]).tolist()
    yield "small", area < middle, low, middle
    yield "medium", (area >= middle) & (area < high), middle, high
    yield "large", area >= high, high, None


def _subset(
    cls: str,
    name: str,
    numbers: Sequence[int],
    inside: Flags,
    true: _True,
    made: Matches,
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
) -> Subset:
    """Figures of the true cells ``inside``, and of the false cells that overlap them most."""
    n = made.weight.shape[1]
    cells = sums(np.ones(inside.sum()), true.image[inside], n)
    found, hits, iou = np.zeros(n), np.zeros(n), np.zeros(n)
    aps, drawn = [], []
    padded = np.append(inside, False)  # at -1: no cell
    for c in numbers:
        t = made.tables[c]
        of = np.where(t.truth >= 0, t.truth, t.near)
        keep = padded[of] & ~t.ignored[0]
        shown = keep & (t.scores >= made.min_score)
        found += sums(np.ones(shown.sum()), t.image[shown], n)
        hits += sums(t.hit[0, shown], t.image[shown], n)
        iou += sums(t.iou[shown], t.image[shown], n)
        own = np.bincount(true.image[inside & (true.classes == c)], minlength=n)
        aps.append(average_precision(t.hit[0, keep], t.image[keep], own, np.ones((1, n))))
        drawn.append(average_precision(t.hit[0, keep], t.image[keep], own, made.weight))
    return Subset(
        cls,
        name,
        int(inside.sum()),
        ratio(hits, cells, made.weight),
        ratio(hits, found, made.weight),
        ratio(2 * hits, cells + found, made.weight),
        ratio(iou, hits, made.weight),
        estimate(mean_over(np.stack(aps))[0], mean_over(np.stack(drawn))),
        low,
        high,
        unit,
    )


def sources(fields: Sequence[Field], made: Matches, resamples: int, seed: int) -> dict[str, SourceFigures]:
    """Figures of each source, with intervals over the images of that source.

    Args:
        fields: the images.
        made: them matched.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    """
    out = {}
    for name in sorted({f.source for f in fields}):
        at = np.flatnonzero([f.source == name for f in fields])
        tables = [_only(t, at) for t in made.tables]
        weight = weights(len(at), resamples, seed)
        plain, drawn = (
            np.stack([average_precision(t.hit[0, j := ~t.ignored[0]], t.image[j], t.true, w) for t in tables])
            for w in (np.ones((1, len(at))), weight)
        )
        of_class = zip(made.classes, tables, made.sums, plain, drawn, strict=True)
        ap50, true, f1 = {}, {}, {}
        for c, t, s, value, scatter in of_class:
            ap50[c] = estimate(value[0], scatter)
            true[c] = int(t.true.sum())
            f1[c] = ratio(2 * s.hits[at], s.true[at] + s.found[at], weight)
        mean = estimate(mean_over(plain)[0], mean_over(drawn))
        out[name] = SourceFigures(len(at), mean, ap50, true, f1)
    return out


def _only(table: Table, images: Ints) -> Table:
    """The table of some images, numbered anew."""
    number = np.full(len(table.true), -1)
    number[images] = np.arange(len(images))
    keep = number[table.image] >= 0
    return Table(
        table.scores[keep],
        number[table.image[keep]],
        table.hit[:, keep],
        table.ignored[:, keep],
        table.iou[keep],
        table.truth[keep],
        table.near[keep],
        table.true[images],
    )
