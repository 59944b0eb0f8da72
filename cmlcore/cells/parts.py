"""A run's cells on disk: one Parquet part a block while it runs, one merged file once it is done.

``run_dir/parts/00000012.parquet`` holds the cells that block 12 owns (no rows: the block is done and
empty). Every file appears whole or not at all. The schema's metadata says the run's classes and mpp.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from cmlcore.cells.schema import CELL_SCHEMA
from cmlcore.errors import RunError, StorageError
from cmlcore.files import NO_SPACE, whole_file
from cmlcore.geometry import Mpp

MERGED = "cells.parquet"
ROW_GROUP = 16_384
_META = b"cmlscope"
_DAMAGED = "The run's file {} is damaged; delete the run and start it again."


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run's files say about all of its cells."""

    classes: tuple[str, ...]  # the order of ``probs``
    mpp: Mpp
    unidentified: bool  # cells the network was too unsure to name are kept


def with_run_facts(
    schema: pa.Schema, classes: Sequence[str], mpp: Mpp, *, unidentified: bool = False
) -> pa.Schema:
    """The schema with the run's facts (see ``RunFacts``) in its metadata."""
    facts: dict[str, object] = {"classes": list(classes), "mpp": [mpp.x, mpp.y]}
    if unidentified:
        facts["unidentified"] = True
    return schema.with_metadata({_META: json.dumps(facts, sort_keys=True).encode()})


def run_facts(schema: pa.Schema) -> RunFacts | None:
    """The facts as ``with_run_facts`` stored them, None where it did not."""
    raw = (schema.metadata or {}).get(_META)
    if raw is None:
        return None
    facts = json.loads(raw)
    return RunFacts(tuple(facts["classes"]), Mpp(*facts["mpp"]), bool(facts.get("unidentified")))


def part_path(run_dir: Path, block: int) -> Path:
    """Where a block's cells lie."""
    return run_dir / "parts" / f"{block:08d}.parquet"


def write_part(run_dir: Path, block: int, table: pa.Table) -> Path:
    """Write one block's cells; the file appears whole or not at all. Same cells, same bytes.

    Raises:
        StorageError: the disk is full or the folder cannot be written.

    """
    if not table.schema.equals(CELL_SCHEMA):
        raise ValueError("a part must have CELL_SCHEMA")
    path = part_path(run_dir, block)
    with _saved(path) as part, pq.ParquetWriter(part, table.schema, **_options()) as writer:
        writer.write_table(table)
    return path


def finished_blocks(run_dir: Path) -> list[int]:
    """Indices of the blocks whose part exists, ascending."""
    return sorted(int(p.stem) for p in (run_dir / "parts").glob("*.parquet"))


def cell_files(run_dir: Path) -> list[Path]:
    """The files that hold the run's cells, in the order of cell_id: the merged one, or the parts."""
    merged = run_dir / MERGED
    return [merged] if merged.exists() else sorted((run_dir / "parts").glob("*.parquet"))


def merge_parts(run_dir: Path) -> Path | None:
    """Write all parts into one file that queries read faster; the parts stay. Memory stays flat.

    Returns None where the run has no part. Call it once, when the last part is in.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
        RunError: a part is damaged.

    """
    files = sorted((run_dir / "parts").glob("*.parquet"))
    if not files:
        return None
    path = run_dir / MERGED
    with _saved(path) as part, pq.ParquetWriter(part, read_schema(files[0]), **_options()) as writer:
        held: list[pa.RecordBatch] = []
        rows = 0
        for batch in read_batches(files):
            held.append(batch)
            rows += batch.num_rows
            if rows >= ROW_GROUP:
                writer.write_table(pa.Table.from_batches(held), row_group_size=rows)
                held, rows = [], 0
        if held:
            writer.write_table(pa.Table.from_batches(held), row_group_size=rows)
    return path


def read_batches(
    files: Sequence[Path], columns: Sequence[str] | None = None, rows: int = 8192
) -> Iterator[pa.RecordBatch]:
    """The files' rows in their order, at most ``rows`` at a time.

    Raises:
        RunError: a file is damaged.

    """
    for path in files:
        try:
            with pq.ParquetFile(path, memory_map=False, pre_buffer=False) as file:
                yield from file.iter_batches(
                    batch_size=rows, columns=None if columns is None else list(columns), use_threads=False
                )
        except (pa.ArrowException, OSError) as e:
            raise RunError(_DAMAGED.format(path.stem)) from e


def read_schema(path: Path) -> pa.Schema:
    """The Arrow schema of a part, metadata included.

    Raises:
        RunError: the file is damaged.

    """
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as e:
        raise RunError(_DAMAGED.format(path.stem)) from e


def _options() -> dict[str, object]:
    # Dictionaries pay for the class names only; statistics let queries skip row groups by position.
    return {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": ["cls"],
        "write_statistics": ["cell_id", "score", "x_l0", "y_l0", "cls"],
    }


@contextmanager
def _saved(path: Path) -> Iterator[Path]:
    """As ``whole_file``: a worker given up for dead may still be writing the same block."""
    try:
        with whole_file(path) as part:
            yield part
    except OSError as e:
        why = "the disk is full; free some space" if e.errno in NO_SPACE else "the folder cannot be written"
        raise StorageError(f"The cells cannot be saved: {why}.") from e
