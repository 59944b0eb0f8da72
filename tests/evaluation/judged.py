"""Hand-made images for the evaluation's tests: squares as cells, in boxes and in outlines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cmlcore.evaluation.field import Edges, Field, FoundCells, field_of
from cmlcore.evaluation.mapping import Mapping, map_classes
from cmlcore.ground_truth import Record
from cmlcore.ground_truth.records import no_boxes

CLASSES = ("erythrocyte", "leukocyte")
Cell = tuple[str, Sequence[float]]  # class, box
Find = tuple[str, float, Sequence[float]]  # class, score, box


def square(box: Sequence[float]) -> np.ndarray:
    x0, y0, x1, y1 = box
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)


def record(
    cells: Sequence[Cell],
    *,
    complete: Sequence[str] = CLASSES,
    clusters: Sequence[Sequence[float]] = (),
    outlined: bool = False,
    source: str = "PBC",
    mpp: float | None = 0.1,
    rois: tuple[np.ndarray, ...] = (),
) -> Record:
    boxes = np.array([b for _, b in cells], np.float32).reshape(-1, 4)
    return Record(
        Path("image.png"),
        source,
        mpp,
        frozenset(complete),
        boxes,
        tuple(n for n, _ in cells),
        tuple(square(b) for _, b in cells) if outlined else (),
        None,
        np.array(clusters, np.float32).reshape(-1, 4) if len(clusters) else no_boxes(),
        rois,
    )


def found(cells: Sequence[Find]) -> FoundCells:
    return FoundCells(
        tuple(c for c, _, _ in cells),
        np.array([s for _, s, _ in cells], float),
        [square(b) for _, _, b in cells],
    )


def mapping(classes: Sequence[str] = CLASSES) -> Mapping:
    return map_classes(classes, classes)


def field(
    true: Sequence[Cell],
    seen: Sequence[Find],
    *,
    edges: Edges = "judge",
    classes: Sequence[str] = CLASSES,
    size: tuple[int, int] = (200, 200),
    **options: Any,
) -> Field:
    labels = record(true, **options)
    return field_of(labels, size, found(seen), mapping(classes), edges, labels.mpp)


def random_field(rng: np.random.Generator, *, outlined: bool = False, cells: int = 12) -> Field:
    """Cells at random, most found a little off, some missed, some invented, some misnamed, some doubled."""
    true, seen = [], []
    for _ in range(rng.integers(0, cells)):
        x, y = rng.uniform(0, 170, 2)
        w, h = rng.uniform(8, 30, 2)
        cls = CLASSES[int(rng.random() < 0.3)]
        true.append((cls, (x, y, x + w, y + h)))
        for _ in range(rng.integers(0, 3)):
            jitter = rng.normal(0, 2.5, 4)
            box = np.array(true[-1][1]) + jitter
            seen.append((CLASSES[int(rng.random() < 0.3)] if rng.random() < 0.2 else cls, rng.random(), box))
    for _ in range(rng.integers(0, 4)):
        x, y = rng.uniform(0, 170, 2)
        seen.append((CLASSES[int(rng.random() < 0.5)], rng.random(), (x, y, x + 15, y + 15)))
    complete = CLASSES if rng.random() < 0.7 else CLASSES[:1]
    clusters = [(120, 120, 190, 190)] if rng.random() < 0.3 else []
    seen = [(c, s, np.clip(b, 0, 200)) for c, s, b in seen]
    source = "PBC" if rng.random() < 0.5 else "BCD"
    return field(true, seen, complete=complete, clusters=clusters, outlined=outlined, source=source)
