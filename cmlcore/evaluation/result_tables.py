"""An evaluation as tables, for CSV files and for whoever opens them in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from cmlcore.evaluation.result import ClassFigures, Estimate, Evaluation

Table = tuple[str, list[str], list[list[Any]]]
_FIGURES = ("ap50", "ap75", "ap", "precision", "recall", "f1", "iou", "dice", "pq", "sq", "dq")


def csv_tables(e: Evaluation) -> list[Table]:
    """(name, header, rows) of each table; a figure that does not exist is None."""
    loss: list[Table] = [("loss", list(e.loss), [list(e.loss.values())])] if e.loss else []
    return [
        *loss,
        _figures(e),
        _curves(e),
        _thresholds(e),
        _confusion(e),
        _counts(e),
        _images(e),
        _reliability(e),
        _subsets(e),
        _sources(e),
    ]


def csv_bytes(table: Table, e: Evaluation) -> bytes:
    """One table as UTF-8; lines with ``#`` come first: what was judged, and the research-use line."""
    _, header, rows = table
    out = io.StringIO()
    m = e.manifest
    facts = {
        "research_use": m.research_use,
        "model": m.model,
        "model_sha256": m.model_sha256,
        "data": " ".join(m.data.split()),
        "data_sha256": m.data_sha256,
        "created": m.created,
    }
    out.writelines(f"# {k}: {v}\n" for k, v in facts.items())
    write = csv.writer(out, lineterminator="\n")
    write.writerow(header)
    write.writerows([_cell(v) for v in row] for row in rows)
    return out.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value  # a spreadsheet would run it
    return "" if value is None else value


def _spread(names: Iterable[str]) -> list[str]:
    return [f"{n}{end}" for n in names for end in ("", "_low", "_high")]


def _values(estimates: Iterable[Estimate]) -> Iterator[float | None]:
    for e in estimates:
        yield from (e.value, e.low, e.high)


def _figures(e: Evaluation) -> Table:
    rows: list[list[Any]] = []
    for kind, shape in e.shapes.items():
        for cls, f in shape.classes.items():
            rows.append([kind, cls, shape.images, f.true, f.found, *_values(_of(f))])
    return "figures", ["shape", "class", "images", "true", "found", *_spread(_FIGURES)], rows


def _of(f: ClassFigures) -> Iterator[Estimate]:
    return (getattr(f, k) for k in _FIGURES)


def _curves(e: Evaluation) -> Table:
    rows: list[list[Any]] = [
        [kind, cls, *point]
        for kind, shape in e.shapes.items()
        for cls, c in shape.curves.items()
        for point in zip(c.recall, c.precision, c.score, strict=True)
    ]
    return "precision_recall", ["shape", "class", "recall", "precision", "score"], rows


def _thresholds(e: Evaluation) -> Table:
    rows: list[list[Any]] = [
        [kind, cls, *point]
        for kind, shape in e.shapes.items()
        for cls, c in shape.thresholds.items()
        for point in zip(c.score, c.precision, c.recall, c.f1, strict=True)
    ]
    return "thresholds", ["shape", "class", "score", "precision", "recall", "f1"], rows


def _confusion(e: Evaluation) -> Table:
    c = e.confusion
    rows: list[list[Any]] = [[name, *counts] for name, counts in zip(c.rows, c.counts, strict=True)]
    return "confusion", ["true", *c.columns], rows


def _counts(e: Evaluation) -> Table:
    rows: list[list[Any]] = [
        [cls, c.images, c.sd, *_values((c.bias, c.lower, c.upper, c.absolute))] for cls, c in e.counts.items()
    ]
    header = ["class", "images", "sd", *_spread(("bias", "lower_limit", "upper_limit", "mean_absolute"))]
    return "count_error", header, rows


def _images(e: Evaluation) -> Table:
    rows: list[list[Any]] = [
        [r.number, r.source, *(r.true[c] for c in e.classes), *(r.found[c] for c in e.classes)]
        for r in e.images
    ]
    ends = [f"{end}_{c}" for end in ("true", "found") for c in e.classes]
    return "images", ["image", "source", *ends], rows


def _reliability(e: Evaluation) -> Table:
    rows: list[list[Any]] = [
        [cls, b.low, b.high, b.cells, b.score, b.right, c.error.value, c.error_shown.value]
        for cls, c in e.calibration.items()
        for b in c.bins
    ]
    header = ["class", "low", "high", "cells", "mean_score", "share_right", "error", "error_shown"]
    return "calibration", header, rows


def _subsets(e: Evaluation) -> Table:
    names = ("recall", "precision", "f1", "iou", "ap50")
    rows: list[list[Any]] = [
        [s.cls, s.name, s.low, s.high, s.unit, s.true, *_values(getattr(s, n) for n in names)]
        for s in e.subsets
    ]
    return "subsets", ["class", "subset", "low", "high", "unit", "true", *_spread(names)], rows


def _sources(e: Evaluation) -> Table:
    rows: list[list[Any]] = []
    for name, s in e.sources.items():
        rows.append([name, "all", s.images, sum(s.true.values()), *_values((s.map50,)), None, None, None])
        rows += [[name, c, s.images, s.true[c], *_values((s.ap50[c], s.f1[c]))] for c in e.classes]
    return "sources", ["source", "class", "images", "true", *_spread(("ap50", "f1"))], rows
