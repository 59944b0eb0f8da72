"""The models page's parts: what each network knows, how well, and where it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from cmlcore.classes import CLASSES, label
from cmlcore.ground_truth.public import short_name
from cmlcore.jobs import device_report
from cmlcore.ui import format as fmt
from cmlcore.ui import widgets
from cmlcore.ui.evaluation_charts import calibration_map
from cmlcore.ui.theme import PLOT_CONFIG, palette
from models.registry import SHIPPED, ModelCard, cards

SHOWN = 6
"""Rows of figures that are not folded away."""
KINDS = {"type1": "Mask R-CNN", "type2": "Vision Transformer"}


def model_card(card: ModelCard) -> None:
    """One network: classes, resolution, state of its weights, metrics, limits, and its card in full."""
    with st.container(border=True, gap="small", key=f"model-{card.key}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader(widgets.plain(card.title), anchor=False, width="content")
            if card.weights.is_file():
                st.badge("Ready", icon=":material/check:", color="green")
                st.page_link(
                    "../../pages/evaluate.py", label="Evaluate it", icon=":material/rule:",
                    query_params={"model": card.key},
                )  # fmt: skip
            else:
                st.badge("Weights missing", icon=":material/error:", color="red")
        widgets.class_chips(card.classes)
        left, right = st.columns([1, 1.4], gap="large")
        with left:
            widgets.facts(facts(card))
        with right:
            _metrics(card)
        _texts(card)
        _calibration(card)
        _in_full(card)


def facts(card: ModelCard) -> dict[str, str]:
    """What the engine needs to know of a network."""
    doubt = card.unidentified_score
    pairs = {
        "Network": KINDS[card.kind],
        "Resolution": f"{card.mpp:g}\u202fµm per pixel",
        "Tile": f"{card.tile} × {card.tile}\u202fpx, margin {card.margin}\u202fpx",
        "Default confidence": fmt.percent(card.min_score, 0),
        **({"Unidentified": f"below that, from {fmt.percent(doubt, 0)}"} if doubt is not None else {}),
        "Weights": f"{card.weights.name}, {_size(card.weights)}",
        "SHA-256": card.sha256[:16] + "…",
    }
    architecture = card.extra.get("architecture")
    if isinstance(architecture, Mapping) and "backbone" in architecture:
        pairs["Network"] += f" on {architecture['backbone']}"
    return pairs


def _texts(card: ModelCard) -> None:
    """Data, limits and licence, where the card tells them."""
    for name, title in (("data", "Data"), ("limits", "Limits"), ("licence", "Licence")):
        lines = list(text_lines(card.extra.get(name)))
        if lines:
            st.markdown(f"**{title}**  \n" + "  \n".join(lines))


def text_lines(value: Any, name: str = "") -> Iterator[str]:
    """A card's text, list of texts or texts by name as Markdown lines; names and numbers share a line."""
    if isinstance(value, Mapping) and value and all(map(_is_number, value.values())):
        yield from text_lines(", ".join(f"{_class_name(k)} {fmt.count(n)}" for k, n in value.items()), name)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key != "sha256":  # for machines; the JSON card has it
                yield from text_lines(inner, f"{name} {short_name(key)}".strip())
    elif isinstance(value, list) and name:
        yield from text_lines(", ".join(map(str, value)), name)
    elif isinstance(value, list):
        for inner in value:
            yield from text_lines(inner, name)
    elif value is not None:
        yield (f":gray[{widgets.plain(name)}:] " if name else "") + widgets.plain(str(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _class_name(key: str) -> str:
    return label(key) if key in CLASSES else key


def _size(path: Path) -> str:
    return fmt.size_bytes(path.stat().st_size) if path.is_file() else "missing"


def metric_rows(metrics: Mapping[str, Any], under: str = "") -> Iterator[list[str]]:
    """Rows of data set and all its figures as HTML, from a card's nested numbers."""
    under = under or str(metrics.get("part", ""))
    own = [
        f"{widgets.text(_said(name))}\u00a0<b>{_figure(value)}</b>"
        for name, value in metrics.items()
        if _is_number(value)
    ]
    if own:
        yield [widgets.text(under or "–"), " · ".join(own)]
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from metric_rows(value, f"{under}, {_said(name)}" if under else _said(name))


def _said(name: str) -> str:
    """A figure's or a set's name as people read it."""
    short = short_name(name)
    return short if short != name else name.replace("50_95", "50:95").replace("_", " ")


def _figure(value: float) -> str:
    """Shares to three places, so that they can be held against each other; counts whole."""
    return f"{value:.3f}" if isinstance(value, float) and 0 < abs(value) <= 1 else f"{value:.4g}"


def _metrics(card: ModelCard) -> None:
    """What was measured: the first rows, the others folded away."""
    rows = list(metric_rows(card.extra.get("metrics", {})))
    if not rows:
        st.caption("No metrics are recorded on this card yet.")
        return
    st.html(_metric_table(rows[:SHOWN]))
    if rows[SHOWN:]:
        with st.expander(f"{len(rows) - SHOWN} more", icon=":material/table_rows:"):
            st.html(_metric_table(rows[SHOWN:]))


def _metric_table(rows: list[list[str]]) -> str:
    return (
        f'<div class="cmlp-texts">{widgets.table_html(["Measured on", "Figures"], rows, total=False)}</div>'
    )


def _calibration(card: ModelCard) -> None:
    """How the network's own scores became the confidences that are shown, where the card says so."""
    curves = calibration_curves(card.extra.get("calibration"))
    if not curves:
        return
    with st.expander("Calibration of the confidence", icon=":material/straighten:"):
        st.plotly_chart(
            calibration_map(curves, palette()), theme=None, config=PLOT_CONFIG,
            alt="From the network’s score to the calibrated confidence", key=f"calibration-{card.key}",
        )  # fmt: skip
        fitted_on = card.extra.get("calibrated_on")
        rows = list(error_rows(fitted_on))
        if rows:
            head = ["Class", "Cells", "Calibration error before", "After, on images held out"]
            st.html(f'<div class="cmlp-narrow">{widgets.table_html(head, rows, total=False)}</div>')
        st.caption(
            "Fitted on images that were not trained on, so that of the cells of confidence 0.8 about 80 % "
            "are right. How right it is on your own images: Evaluate shows the reliability diagram."
        )


def error_rows(fitted_on: Any) -> Iterator[list[str]]:
    """Rows of class, cells and expected calibration error from a card's ``calibrated_on``."""
    if not isinstance(fitted_on, Mapping):
        return
    cells, before, after = (fitted_on.get(k, {}) for k in ("cells", "error_before", "error_after"))
    for key, error in after.items() if isinstance(after, Mapping) else ():
        yield [
            widgets.chip(str(key)),
            fmt.count(cells.get(key)),
            fmt.decimal(before.get(key), 3),
            fmt.decimal(error, 3),
        ]


def calibration_curves(raw: Any) -> dict[str, tuple[list[float], list[float]]]:
    """Score and probability by class from a card's ``calibration``; what is no such map is left out."""
    found = {}
    for key, curve in raw.items() if isinstance(raw, Mapping) else ():
        if isinstance(curve, Mapping) and curve.get("x") and len(curve["x"]) == len(curve.get("y", ())):
            found[str(key)] = ([float(x) for x in curve["x"]], [float(y) for y in curve["y"]])
    return found


def _in_full(card: ModelCard) -> None:
    shipped = card.weights.parent == SHIPPED / "weights"
    text = SHIPPED / "cards" / f"{card.key}.md" if shipped else card.weights.with_name(f"{card.key}.md")
    if text.is_file():
        with st.expander("Model card in full", icon=":material/description:"):
            st.markdown(text.read_text(encoding="utf-8"))


def device_line() -> None:
    """The device that works here and how fast it was."""
    report = device_report()
    name = report.name if report.kind != "unknown" else "not asked yet"
    titles = {c.key: c.title.partition(":")[0] for c in cards()}
    model = widgets.plain(titles.get(report.model, report.model))
    speed = f" · {widgets.speed(report.mm2_per_s)} measured with {model}" if report.mm2_per_s else ""
    st.caption(f":material/memory: Device: {name}{speed}")
