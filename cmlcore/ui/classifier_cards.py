"""Classifiers of single cells as cards: what they know, how right they were, where they end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from cmlcore.classes import UNIDENTIFIED, label
from cmlcore.single_cell.bench_table import TUNINGS
from cmlcore.single_cell.shelf import ClassifierCard
from cmlcore.single_cell.spaces import TITLES
from cmlcore.ui import format as fmt
from cmlcore.ui import widgets
from models.backbone_names import NAMES

FIGURES = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "f1_macro": "F1, macro"}
COLUMNS = 3
CHOSEN = "classifier"
FEW = 10
"""Images a class below which a classifier's figures are not to be believed."""


def choose(cards: Sequence[ClassifierCard]) -> ClassifierCard:
    """Cards side by side, one of them chosen; there is at least one."""
    by_key = {c.key: c for c in cards}
    chosen = st.session_state.get(CHOSEN)
    if chosen not in by_key:
        chosen = next((c.key for c in cards if c.weights.is_file()), cards[0].key)
        st.session_state[CHOSEN] = chosen
    for start in range(0, len(cards), COLUMNS):
        row = cards[start : start + COLUMNS]
        for column, card in zip(st.columns(COLUMNS, gap="small"), row, strict=False):
            with column:
                _card(card, chosen=card.key == chosen, only=len(cards) == 1)
    return by_key[chosen]


def _card(card: ClassifierCard, *, chosen: bool, only: bool) -> None:
    name = f"classifier-{'chosen-' if chosen else ''}{card.key}"
    with st.container(border=True, gap="xsmall", height="stretch", key=name):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{widgets.plain(card.title)}**")
            if not card.weights.is_file():
                st.badge("Weights missing", icon=":material/error:", color="red")
            elif chosen:
                st.badge("Chosen", icon=":material/check:", color="green")
        st.html(figures_html(card))
        st.caption(about(card))
        if few := few_line(card):
            st.caption(f":orange[:material/warning: {few}]")
        if elsewhere := abroad_line(card):
            st.caption(f":material/public: {elsewhere}")
        st.html(f'<div class="cmlp-chips">{"".join(widgets.chip(k) for k in card.classes)}</div>')
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            if not only and not chosen:
                st.button(
                    "Choose", key=f"choose-{card.key}", on_click=_take, args=(card.key,),
                    disabled=not card.weights.is_file(),
                )  # fmt: skip
            with st.popover("Limits and figures", type="tertiary", icon=":material/info:"):
                _more(card)


def _take(key: str) -> None:
    st.session_state[CHOSEN] = key


def figures_html(card: ClassifierCard) -> str:
    """The headline figures with their intervals, as its test part gave them."""
    measured = card.extra.get("metrics", {})
    blocks = []
    for key, title in FIGURES.items():
        value, low, high = _three(measured.get(key))
        if value is not None:
            small = "" if low is None else f"<small>{fmt.decimal(low, 3)} to {fmt.decimal(high, 3)}</small>"
            blocks.append(f"<div><span>{title}</span><b>{fmt.decimal(value, 3)}</b>{small}</div>")
    if not blocks:
        return '<p class="cmlp-note">No figures are recorded on this card yet.</p>'
    return f'<div class="cmlp-figures cmlp-figures-small">{"".join(blocks)}</div>'


def _three(raw: Any) -> tuple[float | None, float | None, float | None]:
    if isinstance(raw, int | float):
        return float(raw), None, None
    if isinstance(raw, list | tuple) and len(raw) == 3:
        value, low, high = (float(v) if isinstance(v, int | float) else None for v in raw)
        return value, low, high
    return None, None, None


def few_line(card: ClassifierCard) -> str:
    """Warning of figures that rest on too little; empty where they do not."""
    judged = card.extra.get("metrics", {}).get("images")
    if not isinstance(judged, int) or judged >= FEW * len(card.classes):
        return ""
    return f"Fewer than {FEW} images a class to judge by: the figures and their intervals say little."


def about(card: ClassifierCard) -> str:
    """One line: on how much the figures rest, and what the network is."""
    data, measured = card.extra.get("data", {}), card.extra.get("metrics", {})
    parts = []
    if isinstance(measured.get("images"), int):
        parts.append(f"on {fmt.count(measured['images'])} images it did not see")
    if isinstance(data.get("train"), int):
        parts.append(f"taught by {fmt.count(data['train'])}")
    name = NAMES.get(card.backbone)
    parts.append(f"{name.title if name else card.backbone}, {TUNINGS[card.tuning]}")
    return " · ".join(parts)


def _more(card: ClassifierCard) -> None:
    """Limits, classes with their figures, and how it was made."""
    for line in texts(card.extra.get("limits")):
        st.markdown(f"- {widgets.plain(line)}")
    rows = class_rows(card)
    if rows:
        st.html(widgets.table_html(["Class", "Sensitivity", "Precision"], rows, total=False))
    sources = source_rows(card)
    if sources:
        st.html(widgets.table_html(["Microscope", "Cells", "Balanced accuracy"], sources, total=False))
    unknown = card.extra.get("metrics", {}).get("unknown_share")
    pairs = {
        label(UNIDENTIFIED): f"{fmt.percent(unknown)} of its test images"
        if isinstance(unknown, float)
        else fmt.NONE,
        "Sees": f"{card.field_um:g}\u202fµm around a cell, {card.side} pixels a side",
        "Colours": TITLES.get(card.colours, card.colours),
        "Split": str(card.extra.get("data", {}).get("unit", fmt.NONE)),
        "SHA-256": card.sha256[:16] + "…",
    }
    widgets.facts(pairs)


def class_rows(card: ClassifierCard) -> list[list[str]]:
    """Class, sensitivity and precision as HTML, from the card's figures."""
    found = card.extra.get("metrics", {}).get("classes", {})
    rows = []
    for key in card.classes:
        pair = found.get(key) if isinstance(found, dict) else None
        if isinstance(pair, list) and len(pair) >= 2:
            rows.append([widgets.chip(key), *(fmt.decimal(v, 3) for v in pair[:2])])
    return rows


def _abroad(card: ClassifierCard) -> dict[str, Any]:
    """What was measured on other microscopes: without the training set's own where that is told apart."""
    told = card.extra.get("abroad")
    parts = [p for p in told.items() if isinstance(p[1], dict)] if isinstance(told, dict) else []
    return dict(next((v for k, v in parts if "without" in k), parts[0][1] if parts else {}))


def abroad_line(card: ClassifierCard) -> str:
    """Balanced accuracy on other microscopes in a sentence; empty where it was not measured."""
    value, low, high = _three(_abroad(card).get("balanced_accuracy"))
    if value is None:
        return ""
    ends = "" if low is None else f" ({fmt.decimal(low, 3)} to {fmt.decimal(high, 3)})"
    return f"On other microscopes: balanced accuracy {fmt.decimal(value, 3)}{ends}"


def source_rows(card: ClassifierCard) -> list[list[str]]:
    """Each other microscope with its cells and balanced accuracy, as HTML."""
    sources = _abroad(card).get("sources")
    return [
        [widgets.text(name), fmt.count(s.get("images")), fmt.decimal(s.get("balanced_accuracy"), 3)]
        for name, s in (sources.items() if isinstance(sources, dict) else ())
        if isinstance(s, dict)
    ]


def texts(raw: Any) -> list[str]:
    """A card's text or list of texts."""
    return [str(t) for t in raw] if isinstance(raw, list) else [str(raw)] if raw else []
