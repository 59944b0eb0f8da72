"""The models page's parts: what each network knows, how well, and where it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from cmlcore.jobs import device_report
from cmlcore.ui import format as fmt
from cmlcore.ui import widgets
from models.registry import SHIPPED, ModelCard

KINDS = {"type1": "Mask R-CNN", "type2": "Vision Transformer"}


def model_card(card: ModelCard) -> None:
    """One network: classes, resolution, state of its weights, metrics, limits, and its card in full."""
    with st.container(border=True, gap="small", key=f"model-{card.key}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader(widgets.plain(card.title), anchor=False, width="content")
            if card.weights.is_file():
                st.badge("Ready", icon=":material/check:", color="green")
            else:
                st.badge("Weights missing", icon=":material/error:", color="red")
        widgets.class_chips(card.classes)
        left, right = st.columns(2, gap="large")
        with left:
            widgets.facts(facts(card))
        with right:
            rows = list(metric_rows(card.extra.get("metrics", {})))
            if rows:
                st.html(widgets.table_html(["Measured on", "Metric", "Value"], rows, total=False))
            else:
                st.caption("No metrics are recorded on this card yet.")
        _texts(card)
        _in_full(card)


def facts(card: ModelCard) -> dict[str, str]:
    """What the engine needs to know of a network."""
    pairs = {
        "Network": KINDS[card.kind],
        "Resolution": f"{card.mpp:g}\u202fµm per pixel",
        "Tile": f"{card.tile} × {card.tile}\u202fpx, margin {card.margin}\u202fpx",
        "Default confidence": fmt.percent(card.min_score, 0),
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
    """A card's text, list of texts or texts by name as Markdown lines."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from text_lines(inner, f"{name} {key}".strip())
    elif isinstance(value, list):
        for inner in value:
            yield from text_lines(inner, name)
    elif value is not None:
        yield (f":gray[{widgets.plain(name)}:] " if name else "") + widgets.plain(str(value))


def _size(path: Path) -> str:
    return fmt.size_bytes(path.stat().st_size) if path.is_file() else "missing"


def metric_rows(metrics: Mapping[str, Any], under: str = "") -> Iterator[list[str]]:
    """Rows of data set, metric and value from a card's nested numbers."""
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from metric_rows(value, f"{under} {name}".strip())
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield [widgets.text(under or "–"), widgets.text(name.replace("_", " ")), f"{value:.4g}"]


def _in_full(card: ModelCard) -> None:
    text = SHIPPED / "cards" / f"{card.key}.md"
    if text.is_file():
        with st.expander("Model card in full", icon=":material/description:"):
            st.markdown(text.read_text(encoding="utf-8"))


def device_line() -> None:
    """The device that works here and how fast it was."""
    report = device_report()
    name = report.name if report.kind != "unknown" else "not asked yet"
    speed = f" · {widgets.speed(report.mm2_per_s)} measured with {report.model}" if report.mm2_per_s else ""
    st.caption(f":material/memory: Device: {name}{speed}")
