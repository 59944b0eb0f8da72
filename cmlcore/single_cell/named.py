"""Answers of a classifier for a run's leukocytes, beside the run's cells. Imports no torch.

The cell table is never edited: the names lie in ``RUN/leukocytes/KEY.parquet``, one file a classifier.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cmlcore import RESEARCH_USE
from cmlcore.classes import label
from cmlcore.errors import RunError
from cmlcore.files import whole_file

if TYPE_CHECKING:
    from cmlcore.single_cell.stream import Named

_SCHEMA = pa.schema(
    [
        pa.field("cell_id", pa.int64(), nullable=False),
        pa.field("cls", pa.string(), nullable=False),  # the answer, "unidentified" among them
        pa.field("best", pa.string(), nullable=False),  # the likeliest class, whatever ``unlike`` says
        pa.field("score", pa.float32(), nullable=False),  # probability of ``best``
        pa.field("unlike", pa.float32(), nullable=False),  # above 1: unlike the training cells
        pa.field("probs", pa.list_(pa.float32()), nullable=False),
    ]
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run it


def path_of(run_dir: Path, key: str) -> Path:
    """Where a classifier's names for a run lie."""
    return run_dir / "leukocytes" / f"{key}.parquet"


def write_named(path: Path, chunks: Iterable[Named], classes: Sequence[str], facts: Mapping[str, Any]) -> int:
    """Write chunks as they come, whole or not at all; returns the number of cells.

    Args:
        path: see ``path_of``.
        chunks: from ``stream.name_cells``.
        classes: the classifier's, in the order of ``probs``.
        facts: of the classifier (key, sha256), kept in the file.

    """
    told = {b"classes": json.dumps(list(classes)).encode(), b"facts": json.dumps(dict(facts)).encode()}
    cells = 0
    with (
        whole_file(path) as part,
        pq.ParquetWriter(part, _SCHEMA.with_metadata(told), compression="zstd") as file,
    ):
        for chunk in chunks:
            a = chunk.answers
            n = len(a)
            flat = pa.array(a.probs.reshape(-1), pa.float32())
            offsets = pa.array(np.arange(n + 1, dtype=np.int32) * len(classes))
            columns = [
                pa.array(chunk.cell_ids),
                pa.array(a.named, pa.string()),
                pa.array(a.best, pa.string()),
                pa.array(a.probs.max(axis=1), pa.float32()),
                pa.array(a.unlike, pa.float32()),
                pa.ListArray.from_arrays(offsets, flat),
            ]
            file.write_batch(pa.record_batch(columns, schema=_SCHEMA))
            cells += n
    return cells


def read_facts(path: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The classifier's classes, and the facts it was written with.

    Raises:
        RunError: the file is damaged or not there.

    """
    try:
        told = pq.read_schema(path).metadata or {}
        return tuple(json.loads(told[b"classes"])), dict(json.loads(told[b"facts"]))
    except (OSError, KeyError, ValueError, pa.ArrowInvalid) as e:
        raise RunError("The names of this run's leukocytes are damaged or gone; name them again.") from e


def batches(path: Path, rows: int = 4096) -> Iterator[pa.RecordBatch]:
    """Rows in the order of cell_id, ``rows`` at a time.

    Raises:
        RunError: the file is damaged or not there.

    """
    try:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(rows)
    except (OSError, pa.ArrowInvalid) as e:
        raise RunError("The names of this run's leukocytes are damaged or gone; name them again.") from e


def csv_stream(path: Path) -> Iterator[bytes]:
    """The names as CSV, streamed; probabilities one column a class."""
    classes, facts = read_facts(path)
    head = ["cell_id", "class", "likeliest", "probability", "unlikeness", *(f"prob_{c}" for c in classes)]
    yield notice(facts)
    yield row(head)
    for batch in batches(path):
        yield b"".join(
            row([r["cell_id"], r["cls"], r["best"], *_short([r["score"], r["unlike"], *r["probs"]])])
            for r in batch.to_pylist()
        )


def notice(facts: Mapping[str, Any]) -> bytes:
    """The lines every export starts with."""
    lines = [RESEARCH_USE, *(f"{k}: {v}" for k, v in facts.items())]
    return "".join(f"# {line}\n" for line in lines).encode()


def row(values: Sequence[object]) -> bytes:
    """One CSV line; text that a spreadsheet would run is quoted with an apostrophe."""
    safe = [f"'{v}" if isinstance(v, str) and v.startswith(_FORMULA) else v for v in values]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(safe)
    return text.getvalue().encode()


def _short(values: Sequence[float]) -> list[str]:
    return [f"{v:.4f}" for v in values]


def counts(path: Path) -> list[tuple[str, int]]:
    """Cells of each class that occurs, most first; shown by label."""
    total: dict[str, int] = {}
    for batch in batches(path):
        names, n = np.unique(np.asarray(batch["cls"]).astype(str), return_counts=True)
        for name, k in zip(names.tolist(), n.tolist(), strict=True):
            total[name] = total.get(name, 0) + k
    return sorted(total.items(), key=lambda kv: (-kv[1], label(kv[0])))
