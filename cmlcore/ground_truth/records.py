"""One labelled image, whatever file format said so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmlcore.classes import ancestors

Floats = NDArray[np.float32]
PHANTOM = "phantom"
"""A source that begins with it has drawn cells."""


def drawn(sources: Iterable[object]) -> bool:
    """Whether some of these sources have drawn cells."""
    return any(str(s).casefold().startswith(PHANTOM) for s in sources)


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One labelled image as it lies on disk, in its own pixels.

    Coordinates are continuous: x right, y down, the centre of the first pixel at (0.5, 0.5), so that an
    outline runs along pixel edges.

    Attributes:
        image: the image file.
        source: the microscope or the set it comes from; figures are given by source.
        mpp: µm per pixel of the image; None where nobody said it (the caller gives or estimates it).
        complete: keys of the classes of which every cell in view is labelled. Of any other class the
            labels are partial: that none is there says nothing.
        boxes: float32 ``(N, 4)`` as x0, y0, x1, y1.
        names: class key of each cell, one a box; a key outside the tree is a class of the user's own.
        outlines: float32 ``(V, 2)`` or None (only the box is known), one a cell; ``()`` where the labels
            are a mask file or no cell has an outline.
        mask: the mask file, read by ``instances_in_mask``, or None. Boxes and names are empty then.
        clusters: float32 ``(K, 4)``, boxes to be ignored: nothing is taught or judged there.
        rois: outlines of the base ROIs within which the image is labelled; ``()``: all of it is.

    """

    image: Path
    source: str
    mpp: float | None
    complete: frozenset[str]
    boxes: Floats
    names: tuple[str, ...]
    outlines: tuple[Floats | None, ...]
    mask: Path | None
    clusters: Floats
    rois: tuple[Floats, ...] = ()


def no_boxes() -> Floats:
    """An empty ``(0, 4)``."""
    return np.zeros((0, 4), np.float32)


def class_index(name: str, classes: tuple[str, ...] | list[str]) -> int:
    """Index of the class, or of its nearest ancestor in the tree, among ``classes``; -1 if none is there."""
    return next((list(classes).index(key) for key in ancestors(name) if key in classes), -1)


def completeness(record: Record, classes: tuple[str, ...] | list[str]) -> tuple[bool, ...]:
    """For each of ``classes``, whether every cell of it in view is labelled.

    Where all cells of a class are labelled, so are all of its sub-classes, if perhaps by the wider name:
    such cells have no index among the finer classes and are places to ignore, and elsewhere there is none.
    """
    whole = tuple(record.complete)
    return tuple(class_index(c, whole) >= 0 for c in classes)


def spread(found: list[Record], limit: int | None) -> list[Record]:
    """At most ``limit`` of the images (at least one), evenly over all; None: all of them."""
    if limit is None or limit >= len(found):
        return found
    return [found[i] for i in np.linspace(0, len(found) - 1, max(1, limit)).astype(int)]
