"""The cell report: one row a cell, streamed, the same bytes for the same cells.

Lines that start with ``#`` come first: the research-use banner and the facts of ``header_facts``. Then
one row of column names. The outline is Well-Known Text in level-0 pixels of the scene, ring closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cmlcore.cells import CellTable, Filters
from cmlcore.errors import RunError
from cmlcore.report.header import header_facts

_ROWS = 4096
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run it


def csv_stream(
    manifest: Mapping[str, Any], cells: CellTable, filters: Filters | None = None
) -> Iterator[bytes]:
    """The report as UTF-8 chunks of a few thousand rows; memory stays flat.

    Args:
        manifest: of the run; see ``header_facts``.
        cells: the run's cells.
        filters: which of them; None: all.

    Raises:
        RunError: the run does not say its pixel size, or a part is damaged.

    """
    if cells.mpp is None:
        raise RunError("The run does not say its pixel size; delete it and start it again.")
    facts = "".join(f"# {key}: {text}\n" for key, text in header_facts(manifest).items())
    yield (facts + ",".join(column_names(cells)) + "\n").encode()
    for batch in cells.batches(filters=filters, rows=_ROWS):
        yield _rows(batch, cells)


def column_names(cells: CellTable) -> list[str]:
    """Names of the report's columns, in order."""
    return [
        "cell_id", "class", "score", *(_text(f"prob_{c}") for c in cells.prob_classes),
        "x_px", "y_px", "x_um", "y_um", "area_um2", "perimeter_um", "circularity",
        "mean_r", "mean_g", "mean_b", "owner_block", "outline_wkt",
    ]  # fmt: skip


def _rows(batch: pa.RecordBatch, cells: CellTable) -> bytes:
    assert cells.mpp is not None  # noqa: S101
    n = batch.num_rows
    x, y = (np.asarray(batch[c]).astype(np.float64) for c in ("x_l0", "y_l0"))
    probs = np.asarray(batch["probs"].flatten()).reshape(n, -1)
    names = np.array([_text(c) for c in cells.classes])
    columns = [
        batch["cell_id"].cast(pa.string()),
        pa.array(names[cells.class_index(pa.chunked_array([batch["cls"]]))], type=pa.string()),
        _number(batch["score"], 4),
        *(_number(probs[:, c], 4) for c in range(len(cells.prob_classes))),
        _number(x, 3),
        _number(y, 3),
        _number(x * cells.mpp.x, 3),
        _number(y * cells.mpp.y, 3),
        *(_number(batch[c], 3) for c in ("area_um2", "perimeter_um")),
        _number(batch["circularity"], 4),
        *(_number(batch[c], 1) for c in ("mean_r", "mean_g", "mean_b")),
        batch["block"].cast(pa.string()),
        pc.binary_join_element_wise('"', wkt(batch["outline_l0"]), '"', ""),
    ]
    lines = pc.binary_join_element_wise(*columns, ",")
    return ("\n".join(lines.to_pylist()) + "\n").encode()


def wkt(outlines: pa.ListArray) -> pa.Array:
    """Well-Known Text of outlines ``x0, y0, x1, y1, …``: exact, for vertices are eighths of a pixel."""
    sizes = np.asarray(outlines.value_lengths(), dtype=np.int64) // 2
    ends = np.cumsum(sizes)
    # The first vertex again at each ring's end.
    order = np.insert(np.arange(ends[-1] if len(ends) else 0), ends, ends - sizes)
    xy = np.asarray(outlines.flatten()).reshape(-1, 2)[order]
    points = pc.binary_join_element_wise(_number(xy[:, 0], 3), _number(xy[:, 1], 3), " ")
    offsets = np.concatenate(([0], np.cumsum(sizes + 1))).astype(np.int32)
    rings = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), points), ", ")
    return pc.binary_join_element_wise("POLYGON ((", rings, "))", "")


def _number(values: NDArray[np.floating] | pa.Array, decimals: int) -> pa.Array:
    """Shortest text of the value rounded to ``decimals``; a comma or exponent never appears."""
    rounded = np.round(np.asarray(values).astype(np.float64), decimals) + 0.0  # no minus zero
    return pc.cast(pa.array(rounded), pa.string())


def _text(name: str) -> str:
    """A class name as a CSV field: quoted where needed, never a formula."""
    safe = "'" + name if name.startswith(_FORMULA) else name
    quoted = any(c in safe for c in ',"\n\r')
    return '"' + safe.replace('"', '""') + '"' if quoted else safe
