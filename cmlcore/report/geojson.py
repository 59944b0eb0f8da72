"""Cells as GeoJSON that QuPath opens (File → Import objects): detections with class and measurements.

Coordinates are level-0 pixels of the scene, as QuPath has them for an image of one scene. Members follow
QuPath's own export (since 0.4): ``objectType``, ``classification`` with name and colour, ``measurements``.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from cmlcore.cells import CellTable, Filters
from cmlcore.classes import color, label
from cmlcore.report.header import header_facts

_ROWS = 1024
_SPACE = uuid.UUID("6f2c2a52-5f0b-4a54-9d7b-0c6d7a3f7f10")  # names a cell the same on every export


def geojson_stream(
    manifest: Mapping[str, Any], cells: CellTable, filters: Filters | None = None
) -> Iterator[bytes]:
    """A FeatureCollection as UTF-8 chunks of some hundred cells; memory stays flat.

    The facts of ``header_facts`` are members of the collection, the research-use line among them.

    Raises:
        RunError: a part is damaged.

    """
    facts = header_facts(manifest)
    head = json.dumps({"type": "FeatureCollection", **facts}, ensure_ascii=False)
    yield (head[:-1] + ', "features": [').encode()
    space = uuid.uuid5(_SPACE, json.dumps(facts, sort_keys=True))
    classes = {c: {"name": label(c), "color": _rgb(color(c))} for c in cells.classes}
    before = "\n"
    for batch in cells.batches(filters=filters, rows=_ROWS):
        features = ",\n".join(_feature(row, classes, cells.prob_classes, space) for row in _plain(batch))
        yield (before + features).encode()
        before = ",\n"
    yield b"\n]}\n"


def _rgb(color_hex: str) -> list[int]:
    return [int(color_hex[i : i + 2], 16) for i in (1, 3, 5)]


def _plain(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    columns = [c for c in batch.schema.names if c != "outline_l0"]
    rows = batch.select(columns).to_pylist()
    lists = batch["outline_l0"]
    xy = np.asarray(lists.flatten()).reshape(-1, 2).tolist()
    first = np.concatenate(([0], np.cumsum(np.asarray(lists.value_lengths()) // 2))).tolist()
    for i, row in enumerate(rows):
        ring = xy[first[i] : first[i + 1]]
        row["ring"] = [*ring, ring[0]]
        yield row


def _feature(
    row: dict[str, Any], classes: Mapping[str, dict[str, Any]], order: tuple[str, ...], space: uuid.UUID
) -> str:
    measurements = {
        "Score": round(row["score"], 4),
        **{f"Probability {label(c)}": round(p, 4) for c, p in zip(order, row["probs"], strict=True)},
        "Area µm^2": round(row["area_um2"], 3),
        "Perimeter µm": round(row["perimeter_um"], 3),
        "Circularity": round(row["circularity"], 4),
        "Mean red": round(row["mean_r"], 1),
        "Mean green": round(row["mean_g"], 1),
        "Mean blue": round(row["mean_b"], 1),
        "Cell id": row["cell_id"],
    }
    feature = {
        "type": "Feature",
        "id": str(uuid.uuid5(space, str(row["cell_id"]))),
        "geometry": {"type": "Polygon", "coordinates": [row["ring"]]},
        "properties": {
            "objectType": "detection",
            "classification": classes[row["cls"]],
            "measurements": measurements,
        },
    }
    return json.dumps(feature, ensure_ascii=False, separators=(",", ":"))
