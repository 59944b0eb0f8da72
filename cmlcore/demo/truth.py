"""The truth of a drawn slide, and how much of it a model finds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from cmlcore import RESEARCH_USE
from cmlcore.demo.smear import DrawnCell
from cmlcore.errors import InputError

MATCH_IOU = 0.5


def write_truth(path: Path, cells: Sequence[DrawnCell]) -> None:
    """Write the cells of one scene as GeoJSON that opens in QuPath (level-0 pixels)."""
    features = []
    for cell in cells:
        ring = np.round(cell.outline_l0 * 8) / 8
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()]]},
                "properties": {
                    "objectType": "annotation",
                    "classification": {"name": cell.cls},
                    "kind": cell.kind,
                },
            }
        )
    note = f"Drawn by CMLscope: no real cells. {RESEARCH_USE}"
    path.write_text(json.dumps({"type": "FeatureCollection", "note": note, "features": features}))


def read_truth(path: Path) -> list[DrawnCell]:
    """Read what ``write_truth`` wrote.

    Raises:
        InputError: the file is missing or is something else.

    """
    try:
        features = json.loads(path.read_text())["features"]
        return [
            DrawnCell(
                f["properties"]["classification"]["name"],
                f["properties"]["kind"],
                np.asarray(f["geometry"]["coordinates"][0][:-1], np.float32),
            )
            for f in features
        ]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise InputError(f"{path.name} is not the truth of a demo slide; draw the slide again.") from e


@dataclass(frozen=True, slots=True)
class Recall:
    """How many cells of one class were drawn and how many of them were found."""

    cls: str
    drawn: int
    found: int

    @property
    def share(self) -> float:
        """Found / drawn; 1 where none was drawn."""
        return self.found / self.drawn if self.drawn else 1.0


def recall(
    drawn: Sequence[DrawnCell],
    outlines_l0: Sequence[NDArray[np.floating]],
    classes: Sequence[str],
    iou: float = MATCH_IOU,
) -> list[Recall]:
    """Match found cells to drawn ones, each at most once, best overlap first, classes alike.

    Args:
        drawn: the truth.
        outlines_l0: found outlines ``(V, 2)`` in the same frame.
        classes: class key of each found cell.
        iou: the least intersection over union that counts.

    Returns:
        One row a class, in the order of first appearance in the truth.

    """
    truth = _polygons([c.outline_l0 for c in drawn])
    found = _polygons(outlines_l0)
    a, b = shapely.STRtree(found).query(truth, predicate="intersects")
    same = np.array([drawn[i].cls == classes[j] for i, j in zip(a, b, strict=True)], bool)
    a, b = a[same], b[same]
    common = shapely.area(shapely.intersection(truth[a], found[b]))
    overlap = common / (shapely.area(truth[a]) + shapely.area(found[b]) - common)
    taken_truth: set[int] = set()
    taken_found: set[int] = set()
    for k in np.argsort(-overlap, kind="stable"):
        if overlap[k] < iou:
            break
        i, j = int(a[k]), int(b[k])
        if i not in taken_truth and j not in taken_found:
            taken_truth.add(i)
            taken_found.add(j)
    names = list(dict.fromkeys(c.cls for c in drawn))
    hits = [drawn[i].cls for i in taken_truth]
    return [Recall(n, sum(c.cls == n for c in drawn), hits.count(n)) for n in names]


def _polygons(outlines: Sequence[NDArray[np.floating]]) -> NDArray[np.object_]:
    """Valid polygons; an outline that crosses itself keeps what it encloses."""
    shapes = np.array([shapely.Polygon(o) for o in outlines], dtype=object)
    return np.asarray(shapely.make_valid(shapes), dtype=object)
