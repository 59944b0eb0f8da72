"""The facts of one cell, as the viewer's panel shows them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import streamlit as st

from cmlcore.classes import UNIDENTIFIED, color, label
from cmlcore.geometry import Mpp
from cmlcore.ui import format as fmt
from cmlcore.ui import widgets


def cell_facts(cell: dict[str, Any], classes: Sequence[str], mpp: Mpp) -> None:
    """Class, confidence, probabilities and measures of one row of the cell table."""
    st.html(f'<div class="cmlp-cell">{widgets.chip(cell["cls"])}<b>{fmt.percent(cell["score"])}</b></div>')
    if cell["cls"] == UNIDENTIFIED:
        st.caption("Too unsure to name: the confidence lies below the least at which this run names a cell.")
    st.html(bars(cell["probs"], classes))
    widgets.facts(measures(cell, mpp))


def measures(cell: dict[str, Any], mpp: Mpp) -> dict[str, str]:
    """Measures of a cell, with units."""
    x_mm, y_mm = cell["x_l0"] * mpp.x / 1000, cell["y_l0"] * mpp.y / 1000
    return {
        "Area": fmt.unit(cell["area_um2"], "µm²"),
        "Perimeter": fmt.unit(cell["perimeter_um"], "µm"),
        "Circularity": fmt.decimal(cell["circularity"], 2),
        "Position": f"{fmt.decimal(cell['x_l0'], 0)}, {fmt.decimal(cell['y_l0'], 0)}\u202fpx",
        "": f"{fmt.decimal(x_mm, 3)}, {fmt.decimal(y_mm, 3)}\u202fmm",
        "Mean colour": ", ".join(fmt.decimal(cell[f"mean_{c}"], 0) for c in "rgb"),
        "Cell": str(cell["cell_id"]),
    }


def bars(probs: Sequence[float], classes: Sequence[str]) -> str:
    """HTML of the class probabilities, the largest first."""
    ranked = sorted(zip(probs, classes, strict=True), key=lambda pair: -pair[0])
    rows = "".join(
        f'<span>{escape(label(key))}</span><i style="--w:{100 * p:.1f}%;--c:{color(key)}"></i>'
        f"<b>{fmt.percent(p)}</b>"
        for p, key in ranked
    )
    return f'<div class="cmlp-bars">{rows}</div>'
