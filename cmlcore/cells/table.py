"""Questions to a run's cell table: counts, distributions, positions, single cells, all rows streamed.

DuckDB answers what aggregates, with one thread: sums of floats then have one order, and two askings give
the same bytes. What streams (``batches``) reads the Parquet files in order and holds one batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from cmlcore.cells.parts import cell_files, read_batches, read_schema, run_facts
from cmlcore.cells.rois import Polygon, in_rois, roi_shape
from cmlcore.cells.schema import CELL_SCHEMA
from cmlcore.classes import UNIDENTIFIED
from cmlcore.errors import InputError, RunError
from cmlcore.geometry import Mpp

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in level-0 pixels, half-open, tested against the centroid."""

_MEASURES = ("score", "area_um2", "perimeter_um", "circularity", "mean_r", "mean_g", "mean_b")


@dataclass(frozen=True, slots=True)
class Filters:
    """Which cells count. ``classes`` None: all; ``rois_l0``: polygons that must hold the centroid."""

    classes: tuple[str, ...] | None = None
    min_score: float = 0.0
    rois_l0: tuple[Polygon, ...] | None = None

    @staticmethod
    def of(
        classes: Sequence[str] | None = None,
        min_score: float = 0.0,
        rois_l0: Sequence[Polygon] | None = None,
    ) -> Filters:
        """Filters from any sequences, such as a page's widgets give."""
        return Filters(
            None if classes is None else tuple(classes),
            float(min_score),
            None if rois_l0 is None else tuple(tuple(tuple(map(float, v)) for v in p) for p in rois_l0),
        )


@dataclass(frozen=True, slots=True)
class ClassCount:
    """Cells of one class; the means are None where there is no cell."""

    cls: str
    count: int
    percent: float | None  # of the named cells counted, 0 where there are none; None: without a name
    density_mm2: float | None  # per mm² of the area given
    mean_score: float | None
    mean_area_um2: float | None


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts per class over common bins; ``edges`` has one entry more than each count."""

    edges: NDArray[np.float64]
    counts: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)


@contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except (duckdb.IOException, duckdb.InvalidInputException) as e:
        raise RunError("The run's cells are damaged or gone; delete the run and start it again.") from e


class CellTable:
    """The cells of one run, as they lie in ``run_dir`` when the object is made. Safe for several threads."""

    def __init__(self, run_dir: Path) -> None:
        """Look at the run's files; classes and ``mpp`` come from the first.

        ``prob_classes`` are the network's, in the order of ``probs``; ``classes`` are all that a cell may
        have: those, and last "unidentified" where the run keeps cells too unsure to name.

        Raises:
            RunError: no block is finished yet, or a file is damaged.

        """
        self.run_dir = Path(run_dir)
        self.files = cell_files(self.run_dir)
        if not self.files:
            raise RunError("The run has no finished block yet; wait for the first one.")
        facts = run_facts(read_schema(self.files[0]))
        self.prob_classes: tuple[str, ...] = facts.classes if facts else self._classes_seen()
        unsure = facts is not None and facts.unidentified and UNIDENTIFIED not in self.prob_classes
        self.classes: tuple[str, ...] = (*self.prob_classes, UNIDENTIFIED) if unsure else self.prob_classes
        self.mpp: Mpp | None = facts.mpp if facts else None

    @cached_property
    def _db(self) -> duckdb.DuckDBPyConnection:
        db = duckdb.connect(config={"threads": 1, "memory_limit": "512MB"})
        with _damage_told():
            db.read_parquet([str(p) for p in self.files]).create_view("cells")
        return db

    def _classes_seen(self) -> tuple[str, ...]:
        return tuple(r[0] for r in self._db.execute("SELECT DISTINCT cls FROM cells ORDER BY cls").fetchall())

    def class_index(self, cls: pa.ChunkedArray) -> NDArray[np.int64]:
        """Place of each class name in ``classes``."""
        coded = cls.combine_chunks().dictionary_encode()
        places = np.array(
            [self.classes.index(k) for k in coded.dictionary.to_pylist()] or [0], dtype=np.int64
        )
        return places[np.asarray(coded.indices, dtype=np.int64)]

    # -- aggregates -------------------------------------------------------------------------------

    def count(self, filters: Filters | None = None) -> int:
        """Number of cells."""
        return int(self._ask("SELECT count(*) FROM cells {where}", filters)[0][0])

    def counts(self, filters: Filters | None = None, area_mm2: float | None = None) -> list[ClassCount]:
        """One entry a class of the run (or of the filter), in the run's order, zeros included.

        Unidentified cells are counted apart: per cent is of the cells that have a name, unless the filter
        asks for unidentified ones by that name; then they count like any class.
        """
        sql = (
            "SELECT cls, count(*), sum(score::DOUBLE), sum(area_um2::DOUBLE) FROM cells {where} GROUP BY cls"
        )
        rows = {cls: (n, s, a) for cls, n, s, a in self._ask(sql, filters)}
        asked = filters is not None and filters.classes is not None and UNIDENTIFIED in filters.classes
        total = sum(n for cls, (n, _, _) in rows.items() if asked or cls != UNIDENTIFIED)
        out = []
        for cls in self.classes:
            if filters is not None and filters.classes is not None and cls not in filters.classes:
                continue
            n, s, a = rows.get(cls, (0, 0.0, 0.0))
            out.append(
                ClassCount(
                    cls,
                    n,
                    None if cls == UNIDENTIFIED and not asked else 100 * n / total if total else 0.0,
                    n / area_mm2 if area_mm2 else None,
                    s / n if n else None,
                    a / n if n else None,
                )
            )
        return out

    def histogram(
        self, measure: str, edges: Sequence[float] | int = 40, filters: Filters | None = None
    ) -> Histogram:
        """Cells per class and bin of a measure; the last bin holds its right edge.

        Args:
            measure: score, area_um2, perimeter_um, circularity, mean_r, mean_g or mean_b.
            edges: ascending bin edges (cells outside are left out), or a number of equal bins: over
                0..1 for score and circularity, over 0..255 for colours, else over 0..largest.
            filters: which cells count.

        """
        if measure not in _MEASURES:
            raise InputError(f"“{measure}” is not a measure of a cell; choose one of {', '.join(_MEASURES)}.")
        if isinstance(edges, int):
            edges = np.linspace(0, self._top(measure, filters), edges + 1).tolist()
        e = np.asarray(edges, dtype=np.float64)
        width = e[1] - e[0]
        equal = np.allclose(np.diff(e), width, rtol=1e-9, atol=0)
        parts = {cls: np.zeros(len(e) - 1, dtype=np.int64) for cls in self._wanted(filters)}
        if equal:
            bin_sql = f"least(floor(({measure}::DOUBLE - ?) / ?)::INTEGER, {len(e) - 2})"
            sql = f"SELECT cls, {bin_sql} AS b, count(*) FROM cells {{where}} GROUP BY cls, b ORDER BY cls, b"  # noqa: S608
            inside = f"{measure} BETWEEN {float(e[0])!r}::DOUBLE AND {float(e[-1])!r}::DOUBLE"
            for cls, b, n in self._ask(sql, filters, [float(e[0]), float(width)], inside):
                parts[cls][b] += n
            return Histogram(e, parts)
        for batch in self.batches(("cls", measure), filters):
            values, cls_of = np.asarray(batch[measure]), np.asarray(batch["cls"])
            for cls in parts:
                parts[cls] += np.histogram(values[cls_of == cls], e)[0]
        return Histogram(e, parts)

    def grid_tiles(self, step_l0: int) -> list[tuple[int, int, int, float]]:
        """Squares that hold centroids: column, row, cells, and how far one reaches along x or y at most.

        A centroid that leans over the scene's left or upper edge counts for the first square.
        """
        sql = (
            "SELECT greatest(floor(x_l0::DOUBLE / ?)::BIGINT, 0) AS gx, "
            "greatest(floor(y_l0::DOUBLE / ?)::BIGINT, 0) AS gy, count(*), "
            "max(greatest(x_l0 - x0_l0, x1_l0 - x_l0, y_l0 - y0_l0, y1_l0 - y_l0))::DOUBLE "
            "FROM cells {where} GROUP BY gx, gy ORDER BY gy, gx"
        )
        return [(gx, gy, n, r) for gx, gy, n, r in self._ask(sql, None, [step_l0, step_l0])]

    # -- single cells -----------------------------------------------------------------------------

    def cell(self, cell_id: int) -> dict[str, Any]:
        """One cell's row as a dict keyed by the schema's names.

        Raises:
            InputError: the run has no such cell.

        """
        found = self.arrow(CELL_SCHEMA.names, where="cell_id = ?", params=[cell_id]).to_pylist()
        if not found:
            raise InputError(f"The run has no cell {cell_id}; it may have been made with other settings.")
        return dict(found[0])

    def cell_at(
        self, x_l0: float, y_l0: float, within: float = 0.0, filters: Filters | None = None
    ) -> dict[str, Any] | None:
        """The cell whose outline holds the point; else the one whose outline is nearest, ``within`` at most.

        Where outlines overlap, the one with the nearest centroid. Distances in level-0 pixels.
        """
        near = self.arrow(
            ("cell_id", "x_l0", "y_l0", "outline_l0"),
            filters,
            where="x0_l0 <= ? AND x1_l0 >= ? AND y0_l0 <= ? AND y1_l0 >= ?",
            params=[x_l0 + within, x_l0 - within, y_l0 + within, y_l0 - within],
        )
        point = shapely.Point(x_l0, y_l0)
        best: tuple[float, float, int] | None = None
        for row in near.to_pylist():
            gap = shapely.Polygon(np.reshape(row["outline_l0"], (-1, 2))).distance(point)
            centre = float(np.hypot(row["x_l0"] - x_l0, row["y_l0"] - y_l0))
            key = (gap, centre, row["cell_id"])
            if gap <= within and (best is None or key < best):
                best = key
        return None if best is None else self.cell(best[2])

    # -- rows -------------------------------------------------------------------------------------

    def arrow(
        self,
        columns: Sequence[str],
        filters: Filters | None = None,
        box: Box | None = None,
        where: str = "TRUE",
        params: Sequence[object] = (),
    ) -> pa.Table:
        """Columns of the cells that pass, in the order of cell_id, held in memory: for views and crops.

        ``where`` is SQL of the caller's own making with ``?`` for ``params``; never a user's text.
        """
        values: list[object] = list(params)
        if box is not None:
            where += " AND x_l0 >= ? AND y_l0 >= ? AND x_l0 < ? AND y_l0 < ?"
            values += box
        names = ", ".join(CELL_SCHEMA.field(c).name for c in columns)
        cursor = self._db.cursor()
        clause, more = self._where(cursor, filters)
        sql = f"SELECT {names} FROM cells {clause} AND {where} ORDER BY cell_id"  # noqa: S608
        with _damage_told():
            found = cursor.sql(sql, params=[*more, *values]).to_arrow_table()
        return found.cast(pa.schema([CELL_SCHEMA.field(c) for c in columns]))

    def batches(
        self, columns: Sequence[str] | None = None, filters: Filters | None = None, rows: int = 8192
    ) -> Iterator[pa.RecordBatch]:
        """All cells that pass, in the order of cell_id, at most ``rows`` at a time; memory stays flat."""
        f = filters or Filters()
        wanted = list(columns) if columns is not None else CELL_SCHEMA.names
        needed = {*wanted}
        if f.classes is not None:
            needed.add("cls")
        if f.min_score > 0:
            needed.add("score")
        shape = None if f.rois_l0 is None else roi_shape(f.rois_l0)
        if shape is not None:
            needed |= {"x_l0", "y_l0"}
        for batch in read_batches(self.files, [c for c in CELL_SCHEMA.names if c in needed], rows):
            keep = np.ones(batch.num_rows, dtype=bool)
            if f.classes is not None:
                keep &= np.isin(np.asarray(batch["cls"].cast(pa.string())).astype(str), f.classes)
            if f.min_score > 0:
                keep &= np.asarray(batch["score"]) >= np.float32(f.min_score)
            if shape is not None:
                keep &= in_rois(batch["x_l0"], batch["y_l0"], shape)
            if keep.any():
                yield batch.select(wanted).filter(pa.array(keep))

    # -- filters as SQL ---------------------------------------------------------------------------

    def _wanted(self, filters: Filters | None) -> list[str]:
        only = None if filters is None else filters.classes
        return [c for c in self.classes if only is None or c in only]

    def _top(self, measure: str, filters: Filters | None) -> float:
        if measure in ("score", "circularity"):
            return 1.0
        if measure.startswith("mean_"):
            return 255.0
        return float(self._ask(f"SELECT max({measure})::DOUBLE FROM cells {{where}}", filters)[0][0] or 1.0)  # noqa: S608

    def _ask(
        self, sql: str, filters: Filters | None, params: Sequence[object] = (), where: str = "TRUE"
    ) -> list[tuple[Any, ...]]:
        cursor = self._db.cursor()
        clause, values = self._where(cursor, filters)
        with _damage_told():
            cursor.execute(sql.format(where=f"{clause} AND {where}"), [*params, *values])
            return list(cursor.fetchall())

    def _where(self, cursor: duckdb.DuckDBPyConnection, filters: Filters | None) -> tuple[str, list[object]]:
        """A WHERE clause and its values; regions become a list of ids, for DuckDB has no polygons."""
        f = filters or Filters()
        terms, values = ["TRUE"], list[object]()
        if f.classes is not None:
            terms.append("list_contains(?::VARCHAR[], cls)")
            values.append(list(f.classes))
        if f.min_score > 0:
            terms.append("score >= ?::FLOAT")
            values.append(float(f.min_score))
        if f.rois_l0 is not None:
            cursor.register("in_rois", self._ids_in(f.rois_l0))
            terms.append("cell_id IN (SELECT cell_id FROM in_rois)")
        return "WHERE " + " AND ".join(terms), values

    def _ids_in(self, rois_l0: tuple[Polygon, ...]) -> pa.Table:
        ids = [b["cell_id"] for b in self.batches(("cell_id",), Filters(rois_l0=rois_l0))]
        return pa.table({"cell_id": pa.chunked_array(ids, type=pa.int64())})
