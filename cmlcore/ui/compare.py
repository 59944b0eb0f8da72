"""The compare page's body: two locked viewers, one table of differences, two maps on one scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from cmlcore.classes import UNIDENTIFIED, label
from cmlcore.store import Run, Slide
from cmlcore.ui import charts, data, tables, widgets
from cmlcore.ui import format as fmt
from cmlcore.ui.sidebyside import side_by_side
from cmlcore.ui.theme import PLOT_CONFIG, palette
from cmlcore.ui.viewer import around

ALL = "all"
_MEASURES = {"Cells": "count", "Per cent": "share", "Per mm²": "per_mm2", "Mean confidence": "mean_score"}


def first_of(runs: Mapping[str, Run]) -> str:
    """The run to begin with: the newest of the model whose key comes first."""
    return min(runs, key=lambda k: runs[k].model)


def partner_of(run: Run, runs: Mapping[str, Run]) -> str | None:
    """The newest run of another model, else the newest other one."""
    others = [k for k in runs if k != run.id]
    return next((k for k in others if runs[k].model != run.model), others[0] if others else None)


def body(slide: Slide, a: Run, b: Run) -> None:
    """Everything below the toolbar."""
    with widgets.said_plainly():
        picture = st.container()
        classes, min_score = _filters(a, b)
        with picture:
            _viewers(slide, a, b, {"classes": list(classes), "min_score": min_score})
        asked = [data.ask(r, classes=classes, min_score=min_score) for r in (a, b)]
        lines = [
            tables.count_lines(data.class_stats(q), data.area_mm2(r))
            for q, r in zip(asked, (a, b), strict=True)
        ]
        _differences(a, b, *lines)
        _bars(a, b, *lines)
        _maps(a, b, *asked)


@st.fragment
def _viewers(slide: Slide, a: Run, b: Run, filters: dict[str, Any]) -> None:
    titles = (data.run_title(a), data.run_title(b))
    key = f"pair-{slide.id}-{a.scene}"
    regions = None if a.rois is None or b.rois is None else [*a.rois, *b.rois]
    side_by_side(
        slide.id, a.scene, (a.id, b.id), key=key, titles=titles, height=520, filters=filters,
        position=around(regions, 480, 520),
    )  # fmt: skip


def _filters(a: Run, b: Run) -> tuple[tuple[str, ...], float]:
    """Classes and least confidence; no class chosen is every class with a name."""
    known = tables.in_tree_order([*{*data.table(data.ask(a)).classes, *data.table(data.ask(b)).classes}])
    left, right = st.columns([2, 1], gap="large", vertical_alignment="bottom")
    with left:
        picked = st.pills(
            "Classes",
            known,
            format_func=label,
            selection_mode="multi",
            default=tables.named(known),
            key=f"classes-{a.id}-{b.id}",
            help=tables.UNIDENTIFIED_MEANS if UNIDENTIFIED in known else None,
        )
    with right:
        min_score = st.slider("Least confidence", 0.0, 1.0, 0.0, 0.01, key="score-pair")
    return tuple(k for k in known if k in picked) or tables.named(known), min_score


def _differences(a: Run, b: Run, first: list[tables.Line], second: list[tables.Line]) -> None:
    st.subheader("Differences", anchor=False)
    st.html(difference_table(tables.pair_lines(first, second), (a, b)))
    st.html(f'<div class="cmlp-narrow">{facts_table(a, b)}</div>')
    areas = data.area_mm2(a), data.area_mm2(b)
    st.caption(
        "Per cent of the cells shown. Density per mm² of the area each run analysed: "
        f"{fmt.area_mm2(areas[0])} and {fmt.area_mm2(areas[1])}. "
        "A network names all classes in one go, so time belongs to the run."
    )


def names(a: Run, b: Run) -> tuple[str, str]:
    """Short names of both runs; numbered where the model is the same."""
    first, second = data.model_name(a.model), data.model_name(b.model)
    return (first, second) if first != second else (f"{first} (1)", f"{second} (2)")


def difference_table(lines: list[tables.PairLine], runs: tuple[Run, Run]) -> str:
    """HTML: per class both runs and the difference, for each measure; a count leads to its cells."""
    titles = names(*runs)
    head = ["Class", *(["1", "2", "2 − 1"] * 4)]
    groups = [("", 1), *((name, 3) for name in _MEASURES)]
    rows = [
        [
            widgets.chip(x.key) if x.key else x.name,
            *(
                data.cells_link(run, x.key, fmt.count(side.count)) if side.count else fmt.count(0)
                for run, side in zip(runs, (x.a, x.b), strict=True)
            ),
            fmt.signed(x.count_diff, 0),
            fmt.percent(x.a.share),
            fmt.percent(x.b.share),
            _points(x.share_diff),
            fmt.significant(x.a.per_mm2),
            fmt.significant(x.b.per_mm2),
            fmt.signed(x.per_mm2_diff, 0),
            fmt.percent(x.a.mean_score),
            fmt.percent(x.b.mean_score),
            _points(x.score_diff),
        ]
        for x in lines
    ]
    key = f'<p class="cmlp-note">1: {widgets.text(titles[0])} · 2: {widgets.text(titles[1])}</p>'
    return key + widgets.table_html(head, rows, groups=groups)


def _points(share: float | None) -> str:
    return fmt.NONE if share is None else fmt.signed(100 * share)


def facts_table(a: Run, b: Run) -> str:
    """HTML: time and speed of both runs with the difference."""
    return widgets.table_html(
        ["Run", "1", "2", "2 − 1"],
        [
            [
                "Time",
                fmt.duration(a.worked_s),
                fmt.duration(b.worked_s),
                fmt.signed_duration(b.worked_s - a.worked_s),
            ],
            [
                "Speed",
                widgets.speed(a.mm2_per_s),
                widgets.speed(b.mm2_per_s),
                _ratio(b.mm2_per_s, a.mm2_per_s),
            ],
            ["Device", widgets.text(a.device), widgets.text(b.device), ""],
        ],
        total=False,
    )


def _ratio(x: float | None, y: float | None) -> str:
    return fmt.NONE if not x or not y else f"× {fmt.significant(x / y)}"


def _bars(a: Run, b: Run, first: list[tables.Line], second: list[tables.Line]) -> None:
    st.subheader("By class", anchor=False)
    measure = st.segmented_control(
        "Measure",
        list(_MEASURES),
        default="Cells",
        required=True,
        key="pair-measure",
        label_visibility="collapsed",
    )
    factor = 100 if measure in ("Per cent", "Mean confidence") else 1
    values = [
        {x.key: factor * (getattr(x, _MEASURES[measure]) or 0.0) for x in side if x.key}
        for side in (first, second)
    ]
    axis = f"{measure} (%)" if measure == "Mean confidence" else measure
    figure = charts.class_pair(values[0], values[1], names(a, b), axis, palette())
    st.plotly_chart(figure, theme=None, config=PLOT_CONFIG, alt=f"{measure} by class for both runs")


def _maps(a: Run, b: Run, ask_a: data.Question, ask_b: data.Question) -> None:
    st.subheader("Position", anchor=False)
    known = tables.in_tree_order(
        list(ask_a.classes or {*data.table(ask_a).classes, *data.table(ask_b).classes})
    )
    key = st.segmented_control(
        "Class on the maps",
        [ALL, *known],
        format_func=lambda k: "All" if k == ALL else label(k),
        default=ALL,
        required=True,
        key="pair-map",
        label_visibility="collapsed",
    )
    frame = data.frame_of(a, b)
    heats = [
        data.heat(
            data.ask(run, classes=q.classes if key == ALL else (key,), min_score=q.min_score), run, frame
        )
        for run, q in ((a, ask_a), (b, ask_b))
    ]
    figure = charts.heatmap_pair(heats[0], heats[1], names(a, b), None if key == ALL else key, palette())
    st.plotly_chart(figure, theme=None, config=PLOT_CONFIG, alt="Cells per mm² over the slide for both runs")
