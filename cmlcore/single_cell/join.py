"""Benches of one set as one: backbones may be benched apart, on other days and other machines. No torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cmlcore.errors import InputError
from cmlcore.files import write_json
from cmlcore.single_cell.bench_table import RESULT, read
from cmlcore.single_cell.contrasts import contrasts


def join(folders: Sequence[Path], out: Path, measured: Path | None = None) -> dict[str, Any]:
    """Put the rows of several benches into one table, and compare them anew.

    Args:
        folders: benches of the same images, cut the same way; no combination may be in two of them.
        out: folder for the joined ``bench.json``.
        measured: what ``classify costs --measure --json`` wrote; its costs take the place of the benches'.

    Raises:
        InputError: they do not fit together, or one cannot be read.

    """
    benches = [read(f) for f in folders]
    if len(benches) < 2:
        raise InputError("Joining takes two benches or more.")
    first = benches[0]
    for folder, bench in zip(folders, benches, strict=True):
        mark = bench["set"].get("fingerprint")
        if mark is None:
            raise InputError(f"The bench in {folder.name} is of an older version; run it again to join it.")
        if mark != first["set"]["fingerprint"]:
            raise InputError(f"The bench in {folder.name} is of other images or cut another way.")
    rows = [row for bench in benches for row in bench["rows"]]
    keys = [(row["title"], row["tuning"], row["colours"]) for row in rows]
    twice = next((k for k in keys if keys.count(k) > 1), None)
    if twice is not None:
        raise InputError(f"The row {', '.join(twice)} is in two of these benches.")
    costs = {c["key"]: c for bench in reversed(benches) for c in bench["costs"]}
    if measured is not None:
        costs |= {c["key"]: c for c in _costs(measured)}
    order = list(dict.fromkeys(row["backbone"] for row in rows))
    joined = {
        **first,
        "set": {**first["set"], "notes": _notes(benches)},
        "plan": [bench["plan"] for bench in benches],
        "costs": [costs[key] for key in order if key in costs],
        "versions": [bench["versions"] for bench in benches],
        "rows": rows,
        "contrasts": contrasts(rows, first["set"]["groups"]),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / RESULT, joined, compact=True)
    return joined


def _costs(path: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["costs"]
        return [c for c in found if c["key"] and c["title"]]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise InputError(f"{path.name} holds no costs; make it with classify costs --measure --json.") from e


def _notes(benches: Sequence[dict[str, Any]]) -> list[str]:
    """What the benches say, and with what each backbone was benched, where that differs."""
    notes = list(dict.fromkeys(note for bench in benches for note in bench["set"]["notes"]))
    told = list(dict.fromkeys(line for bench in benches for line in _budgets(bench)))
    return [*notes, *told]


def _budgets(bench: dict[str, Any]) -> list[str]:
    plan = bench["plan"]
    titles = dict.fromkeys(row["title"] for row in bench["rows"])
    passes = f"; the whole model in {plan['tune']['epochs']} passes" if "whole" in plan["tunings"] else ""
    return [f"{title}: {plan['side']} pixels a side{passes}." for title in titles]
