"""Two evaluations side by side: their figures, and the differences with intervals."""

from __future__ import annotations

import streamlit as st

from cmlcore.evaluation.result import ALL, Evaluation
from cmlcore.evaluation.result_tables import csv_bytes
from cmlcore.ui import evaluation_charts as charts
from cmlcore.ui import evaluation_tables as tables
from cmlcore.ui import widgets
from cmlcore.ui.evaluation_view import about, plot
from cmlcore.ui.theme import palette

HEADER = ["figure", "class", "first", "second", "difference", "difference_low", "difference_high"]


def body(a: Evaluation, b: Evaluation, titles: tuple[str, str], keys: tuple[str, str]) -> None:
    """Everything that both measured; second less first."""
    for column, found, number, title in zip(st.columns(2, gap="large"), (a, b), "12", titles, strict=True):
        with column:
            st.markdown(f"**{number}: {widgets.plain(title)}**")
            st.html(tables.headlines_html(tables.headlines(found)))
            st.caption(about(found))
    if a.manifest.data_sha256 != b.manifest.data_sha256:
        st.warning(
            "The two were judged on different images: a difference may come from these as well as from the "
            "models.",
            icon=":material/warning:",
        )
    _differences(a, b, keys)
    kind = next(reversed(a.shapes))
    for column, found, number in zip(st.columns(2, gap="large"), (a, b), "12", strict=True):
        with column:
            st.subheader(f"Confusion, {number}", anchor=False)
            plot(charts.confusion_map(found.confusion, palette()), f"Confusion matrix of evaluation {number}")
            st.subheader(f"Precision and recall, {number}", anchor=False)
            shape = found.shapes.get(kind) or next(iter(found.shapes.values()))
            plot(charts.pr_curves(shape, palette()), f"Precision over recall of evaluation {number}")


def _differences(a: Evaluation, b: Evaluation, keys: tuple[str, str]) -> None:
    kinds = [k for k in a.shapes if k in b.shapes]
    heading = st.container(horizontal=True, vertical_alignment="center", gap="xxsmall")
    kind = kinds[-1]
    if len(kinds) > 1:
        kind = st.segmented_control(
            "Judged by", kinds, format_func=tables.SHAPES.__getitem__, default=kind, required=True,
            key="pair-shape", label_visibility="collapsed",
        )  # fmt: skip
    found = tables.pairs(a, b, kind)
    with heading:
        st.subheader("Differences, 2 − 1", anchor=False)
        st.download_button(
            "CSV",
            lambda: pair_csv(a, b, kind),
            file_name=f"evaluations-{keys[0]}-{keys[1]}.csv",
            mime="text/csv",
            icon=":material/download:",
            type="tertiary",
            on_click="ignore",
            key="pair-csv",
        )
    left, right = st.columns(2, gap="large")
    with left:
        points = [charts.Point(p.row, p.key, p.gap) for p in found if p.row != tables.COUNT_ERROR]
        plot(charts.dots(points, "Second less first", palette(), differences=True), "Differences by class")
    with right:
        st.html(tables.pair_table(found, a.classes))
        st.caption(
            "All classes: AP is the mean of the classes. 95 % intervals made of those of both (MOVER, Zou "
            "and Donner 2008), as if the images had been drawn separately: on the same images they are wider "
            "than they need be. Bold: zero lies outside. Count error: mean per image, without its sign."
        )


def pair_csv(a: Evaluation, b: Evaluation, kind: str) -> bytes:
    """The differences as CSV; the head names the first evaluation, each row holds both."""
    rows = [
        [p.row, "all" if p.key == ALL else p.key, p.a.value, p.b.value, p.gap.value, p.gap.low, p.gap.high]
        for p in tables.pairs(a, b, kind)
    ]
    second = f"# second_model: {b.manifest.model}\n# second_model_sha256: {b.manifest.model_sha256}\n"
    return second.encode() + csv_bytes(("differences", HEADER, rows), a)
