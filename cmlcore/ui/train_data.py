"""The class table of a training's images: all there are, those used, and how they are shared out."""

from __future__ import annotations

from typing import Any

import streamlit as st

from cmlcore.ui import format as fmt
from cmlcore.ui import widgets

_HEAD = ["Class", "Cells", "%", "Cells", "%", "Train", "Val", "Images", "Sources"]
_GROUPS = [("", 1), ("All", 2), ("Used", 5), ("", 1)]


def class_table(facts: dict[str, Any]) -> None:
    """Show what ``cmlcore.training.data.described`` says; nothing where it is empty."""
    if not facts.get("rows"):
        return
    st.html(widgets.table_html(_HEAD, table_rows(facts), groups=_GROUPS))
    images, notes = facts["images"], len(facts.get("notes", ()))
    said = [f"{fmt.count(images['train'])} images to learn from, {fmt.count(images['val'])} to judge by"]
    if not images["val"]:
        said.append("without any to judge by, there is no precision curve and no best step")
    if notes:
        said.append(f"{fmt.count(notes)} thing{'s' if notes > 1 else ''} left out that cannot be used")
    st.caption(" · ".join(said))


def table_rows(facts: dict[str, Any]) -> list[list[str]]:
    """The rows as HTML, the total last."""
    cells = {part: facts["cells"][part] for part in ("train", "val")}
    rows = []
    for row in facts["rows"]:
        key = row["class"]
        shared = [
            fmt.count(by.get(key, 0) if key else sum(by.values())) for by in (cells["train"], cells["val"])
        ]
        rows.append(
            [
                widgets.chip(key) if key else "All",
                fmt.count(row["all"]),
                fmt.decimal(row["all_percent"]),
                fmt.count(row["used"]),
                fmt.decimal(row["used_percent"]),
                *shared,
                fmt.count(row["used_images"]),
                f'<span class="cmlp-wrap">{widgets.text(", ".join(row["sources"]))}</span>' if key else "",
            ]
        )
    return rows
