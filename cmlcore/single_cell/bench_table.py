"""Reading a bench: rows for tables and CSV. Imports no torch."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cmlcore import RESEARCH_USE
from cmlcore.classes import label
from cmlcore.errors import InputError
from cmlcore.single_cell.spaces import TITLES as SPACE_TITLES

FORMAT = 1
FIGURES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "precision_weighted": "Precision, weighted",
    "precision_macro": "Precision, macro",
    "sensitivity_weighted": "Sensitivity, weighted",
    "sensitivity_macro": "Sensitivity, macro",
    "f1_weighted": "F1, weighted",
    "f1_macro": "F1, macro",
    "auc_weighted": "ROC AUC, weighted",
}
TUNINGS = {"last": "last layer only", "whole": "whole model"}
RESULT = "bench.json"  # of a bench's folder
CHANGED = {"backbone": "Backbone", "tuning": "Tuning", "colours": "Colours"}
"""In what two rows of a contrast differ."""

Table = tuple[str, list[str], list[list[Any]]]
"""Name, header, rows."""


def read(folder: Path) -> dict[str, Any]:
    """What a bench's ``RESULT`` holds.

    Raises:
        InputError: it is not there, or of another version.

    """
    try:
        raw = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise InputError(f"The folder {folder.name} holds no readable bench; run it again.") from e
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise InputError(f"The bench in {folder.name} is of another version; run it again.")
    return raw


def tables(bench: dict[str, Any]) -> list[Table]:
    """All tables of a bench: results, contrasts, folds, classes, confusion, costs."""
    return [
        results(bench), contrasts(bench), _folds(bench), _classes(bench), _confusion(bench), costs(bench)
    ]  # fmt: skip


def results(bench: dict[str, Any]) -> Table:
    """One line a combination: mean ± deviation over folds, and the interval over all test images."""
    header = ["Backbone", "Tuned", "Colours"]
    for name in FIGURES.values():
        header += [name, *(f"{name}, {what}" for what in ("SD over folds", "95 % low", "95 % high"))]
    rows = []
    for row in bench["rows"]:
        line = _who(row)
        for key in FIGURES:
            mean, deviation = row["summary"].get(key, (None, None))
            whole = row["pooled"]["figures"][key]
            line += [mean, deviation, whole["low"], whole["high"]]
        rows.append(line)
    return "results", header, rows


def contrasts(bench: dict[str, Any]) -> Table:
    """One line a pair of rows that differ in one thing: how much more is called right, image by image."""
    header = ["Changed", "From", "To", "Elsewhere", "Images", "Accuracy gained", "95 % low", "95 % high"]
    rows = [
        [
            CHANGED[c["changed"]],
            *ends(c),
            beside(c),
            c["images"],
            *(round(c[k], 4) for k in ("difference", "low", "high")),
        ]
        for c in bench.get("contrasts", [])
    ]
    return "contrasts", header, rows


def ends(contrast: dict[str, Any]) -> tuple[str, str]:
    """Names of what a contrast goes from and to."""
    key = contrast["changed"]
    return _name(contrast["before"], key), _name(contrast["after"], key)


def beside(contrast: dict[str, Any]) -> str:
    """What both rows of a contrast have in common."""
    row = contrast["after"]
    return ", ".join(_name(row, k) for k in CHANGED if k != contrast["changed"])


def _name(row: dict[str, Any], key: str) -> str:
    if key == "tuning":
        return TUNINGS[row[key]]
    return str(row["title"]) if key == "backbone" else SPACE_TITLES.get(row[key], str(row[key]))


def costs(bench: dict[str, Any]) -> Table:
    """Properties of the backbones."""
    header = ["Backbone", "Parameters, millions", "FLOPs, billions", "Activations, millions", "Conv2d layers"]
    rows = [
        [
            c["title"],
            round(c["parameters"] / 1e6, 2),
            round(c["flops"] / 1e9, 2),
            round(c["activations"] / 1e6, 2),
            c["conv2d"],
        ]
        for c in bench["costs"]
    ]
    if any("seconds_per_image" in c for c in bench["costs"]):
        header += ["Mean time per image, ms", "Memory, MB", "Device", "Batch"]
        for line, c in zip(rows, bench["costs"], strict=True):
            seconds, memory = c.get("seconds_per_image"), c.get("memory_mb")
            line += [
                None if seconds is None else round(1000 * seconds, 2),
                None if memory is None else round(memory),
                c.get("device"),
                c.get("batch"),
            ]
    return "costs", header, rows


def csv_text(table: Table) -> Iterator[str]:
    """A table as CSV, the research notice on its first line."""
    _, header, rows = table
    yield f"# {RESEARCH_USE}\r\n"
    for line in (header, *rows):
        text = io.StringIO()
        csv.writer(text).writerow(["" if v is None else v for v in line])
        yield text.getvalue()


def _who(row: dict[str, Any]) -> list[Any]:
    return [row["title"], TUNINGS[row["tuning"]], row["colours"]]


def _folds(bench: dict[str, Any]) -> Table:
    header = ["Backbone", "Tuned", "Colours", "Fold", *FIGURES.values(), "Seconds"]
    rows = [
        [*_who(row), n, *(fold["figures"][k] for k in FIGURES), round(fold["seconds"], 1)]
        for row in bench["rows"]
        for n, fold in enumerate(row["folds"], 1)
    ]
    return "folds", header, rows


def _classes(bench: dict[str, Any]) -> Table:
    keys = ("images", "called", "precision", "sensitivity", "specificity", "f1", "auc")
    header = ["Backbone", "Tuned", "Colours", "Class", "Images", "Called", "Precision", "Sensitivity"]
    header += ["Specificity", "F1", "ROC AUC"]
    rows = [
        [*_who(row), label(line["cls"]), *(line[k] for k in keys)]
        for row in bench["rows"]
        for line in row["pooled"]["lines"]
    ]
    return "classes", header, rows


def _confusion(bench: dict[str, Any]) -> Table:
    header = ["Backbone", "Tuned", "Colours", "True class", "Answer", "Images"]
    rows = [
        [*_who(row), label(a), label(b), n]
        for row in bench["rows"]
        for a, line in zip(row["pooled"]["classes"], row["pooled"]["confusion"], strict=True)
        for b, n in zip(row["pooled"]["classes"], line, strict=True)
        if n
    ]
    return "confusion", header, rows
