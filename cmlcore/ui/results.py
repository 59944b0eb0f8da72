"""The results page's body: filters, count table, distributions, map, single cells, manifest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from cmlcore.classes import UNIDENTIFIED, descends, label
from cmlcore.jobs import run_manifest
from cmlcore.store import Run
from cmlcore.ui import charts, data, tables, widgets
from cmlcore.ui import format as fmt
from cmlcore.ui.selection import AT, RUN, SCENE, SLIDE
from cmlcore.ui.theme import MAP_CONFIG, PLOT_CONFIG, palette

CELL_ZOOM = 2.0  # screen pixels per level-0 pixel when a single cell is opened
BIN_ON_SCREEN = 600  # screen pixels for a square of the map when it is opened
ALL = "all"
SUREST, DOUBTFUL = "Most confident", "Most doubtful"


def downloads(run: Run) -> None:
    """Links to the streamed exports: always every cell of the run. An unfinished run has no report."""
    if run.manifest is None:
        return
    st.link_button(
        "CSV", f"/exports/{run.id}.csv", icon=":material/download:", help="One row a cell, all cells"
    )
    st.link_button(
        "GeoJSON",
        f"/exports/{run.id}.geojson",
        icon=":material/download:",
        help="All outlines; opens in QuPath",
    )


def body(run: Run) -> None:
    """Everything below the toolbar."""
    if run.status != "done":
        st.warning(
            f"This run is not complete ({widgets.status_text(run.status).lower()}): it covers "
            f"{fmt.count(run.blocks_done)} of {fmt.count(run.blocks_total)} blocks. Densities are therefore "
            "too low.",
            icon=":material/warning:",
        )
    with widgets.said_plainly():
        known = data.table(data.ask(run)).classes
        classes, min_score = _filters(run, known)
        rois = region_of(st.session_state.get(_map_key(run)), run.mpp_x, run.mpp_y)
        question = data.ask(run, classes=classes, min_score=min_score, rois_l0=rois)
        if rois is not None:
            _limit(run)
        area = data.area_mm2(run, rois)
        lines = tables.count_lines(data.class_stats(question), area)
        _figures_in_short(run, lines[-1], area, _unidentified(question, known))
        _numbers(run, lines, area, limited=rois is not None)
        _distributions(question)
        _single_cells(run, question)
        _leukocytes(run, known)
        _manifest(run)


def _filters(run: Run, known: tuple[str, ...]) -> tuple[tuple[str, ...], float]:
    """Classes and least confidence; no class chosen is every class with a name."""
    left, right = st.columns([2, 1], gap="large", vertical_alignment="bottom")
    with left:
        picked = st.pills(
            "Classes",
            tables.in_tree_order(known),
            format_func=label,
            selection_mode="multi",
            default=tables.in_tree_order(tables.named(known)),
            key=f"classes-{run.id}",
            help=tables.UNIDENTIFIED_MEANS if UNIDENTIFIED in known else None,
        )
    with right:
        min_score = st.slider("Least confidence", 0.0, 1.0, 0.0, 0.01, key=f"score-{run.id}")
    return tuple(k for k in known if k in picked) or tables.named(known), min_score


def _unidentified(question: data.Question, known: tuple[str, ...]) -> int | None:
    """Cells the network was too unsure to name, whatever their confidence; None where the run keeps none."""
    if UNIDENTIFIED not in known:
        return None
    return data.class_stats(replace(question, classes=(UNIDENTIFIED,), min_score=0.0))[0].count


def _figures_in_short(run: Run, whole: tables.Line, area: float, unidentified: int | None) -> None:
    with st.container(horizontal=True, gap="large", key="metrics"):
        st.metric("Cells", fmt.count(whole.count), width="content")
        if unidentified is not None:
            st.metric(
                "Unidentified", fmt.count(unidentified), width="content",
                help="Found, but the network is too unsure to name them. They count where you choose them.",
            )  # fmt: skip
        st.metric("Area analysed", fmt.area_mm2(area), width="content")
        st.metric("Density", fmt.unit(whole.per_mm2, "/mm²", 0), width="content")
        st.metric("Mean confidence", fmt.percent(whole.mean_score), width="content")
        st.metric("Time", fmt.duration(run.worked_s), width="content")


def _numbers(run: Run, lines: list[tables.Line], area: float, *, limited: bool) -> None:
    left, right = st.columns([1.5, 1], gap="medium")
    with left:
        st.subheader("Counts", anchor=False)
        st.html(count_table(lines, run))
        st.caption(
            f"Per cent of the {fmt.count(lines[-1].count)} cells shown; confidence and area are means. "
            f"Density per mm² of the {fmt.area_mm2(area)} "
            + ("inside the marked region." if limited else "analysed, empty glass included.")
        )
    with right:
        st.subheader("Class distribution", anchor=False)
        counts = {x.key: x.count for x in lines if x.key}
        _plot(charts.class_bars(counts, palette()), "Cells by class")


def count_table(lines: list[tables.Line], run: Run) -> str:
    """HTML of the count table; a count leads to its cells in the viewer."""
    table = widgets.table_html(
        ["Class", "Cells", "%", "Per mm²", "Confidence", "Area"],
        [
            [
                widgets.chip(x.key) if x.key else x.name,
                data.cells_link(run, x.key, fmt.count(x.count)) if x.count else fmt.count(0),
                fmt.percent(x.share),
                fmt.significant(x.per_mm2),
                fmt.percent(x.mean_score),
                fmt.unit(x.mean_area_um2, "µm²"),
            ]
            for x in lines
        ],
    )
    return f'<div class="cmlp-scroll">{table}</div>'


def _distributions(question: data.Question) -> None:
    left, right = st.columns(2, gap="large")
    own = st.session_state.get("own-scale", False)
    with left:
        st.subheader("Cell area", anchor=False)
        edges, counts = data.histogram(question, "area_um2")
        figure = charts.histogram(edges, counts, palette(), title="Area (µm²)", unit="µm²", shares=own)
        _plot(figure, "Distribution of cell areas by class")
    with right:
        st.subheader("Confidence", anchor=False)
        edges, counts = data.histogram(question, "score")
        figure = charts.histogram(edges, counts, palette(), title="Confidence", places=3, shares=own)
        _plot(figure, "Distribution of confidence by class")
    st.toggle("Each class as per cent of its own cells", key="own-scale", help="Makes rare classes visible.")


def _single_cells(run: Run, question: data.Question) -> None:
    left, right = st.columns([1.6, 1], gap="large")
    with left:
        _map(run, question)
    with right:
        _gallery(run, question)


def _leukocytes(run: Run, known: tuple[str, ...]) -> None:
    """The way to their kinds, where the run has any."""
    if run.status == "done" and any(descends(c, "leukocyte") for c in known):
        st.page_link(
            "../../pages/cells.py",
            label="Name the kinds of the leukocytes",
            icon=":material/grid_view:",
            query_params={RUN: run.id},
        )


def _map(run: Run, question: data.Question) -> None:
    st.subheader("Position", anchor=False)
    keys = [ALL, *(question.classes or data.table(question).classes)]
    key = st.segmented_control(
        "Class on the map",
        [ALL, *tables.in_tree_order(keys[1:])],
        format_func=lambda k: "All" if k == ALL else label(k),
        default=ALL,
        required=True,
        key=f"map-class-{run.id}",
        label_visibility="collapsed",
    )
    only = question.classes if key == ALL else (key,)
    everywhere = data.ask(run, classes=only, min_score=question.min_score)
    heat = data.heat(everywhere, run)
    st.plotly_chart(
        charts.position_heatmap(heat, None if key == ALL else key, palette()),
        theme=None,
        config=MAP_CONFIG,
        key=_map_key(run),
        on_select="rerun",
        selection_mode=("points", "box", "lasso"),
        alt="Cells per mm² over the slide",
    )
    st.caption(
        "Click a square to look there. Mark a region with the box or lasso tool above the map to limit all "
        "figures of this page to it."
    )
    target = clicked(st.session_state.get(_map_key(run)))
    if target is not None:
        bin_l0 = float(heat.x_mm[1] - heat.x_mm[0]) * 1000 / run.mpp_x
        x_l0, y_l0 = target[0] * 1000 / run.mpp_x, target[1] * 1000 / run.mpp_y
        _look(run, x_l0, y_l0, min(CELL_ZOOM, BIN_ON_SCREEN / bin_l0))


def _map_key(run: Run) -> str:
    """Key of the map; a new one each time the limit is lifted: a chart's selection cannot be taken back."""
    return f"map-{run.id}-{st.session_state.get(_rounds(run), 0)}"


def _rounds(run: Run) -> str:
    return f"map-rounds-{run.id}"


def _limit(run: Run) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="limit"):
        st.badge(
            "All figures are limited to the region marked on the map", icon=":material/crop:", color="blue"
        )
        st.button("Show everything", icon=":material/close:", type="tertiary", on_click=_lift, args=(run,))


def _lift(run: Run) -> None:
    st.session_state[_rounds(run)] = st.session_state.get(_rounds(run), 0) + 1


def region_of(selection: Any, mpp_x: float, mpp_y: float) -> data.Rois | None:
    """Regions a person marked on the map, in level-0 pixels; None where none is marked.

    Args:
        selection: Plotly's selection, axes in mm.
        mpp_x: µm per pixel along x.
        mpp_y: µm per pixel along y.

    """
    marks = (selection or {}).get("selection", {})
    shapes = [[(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])] for x, y in _axes(marks.get("box"))]
    shapes += [list(zip(x, y, strict=True)) for x, y in _axes(marks.get("lasso"))]
    found = tuple(tuple((x * 1000 / mpp_x, y * 1000 / mpp_y) for x, y in shape) for shape in shapes)
    return found or None


def _axes(marks: Any) -> list[tuple[list[float], list[float]]]:
    return [(mark["x"], mark["y"]) for mark in marks or []]


def clicked(selection: Any) -> tuple[float, float] | None:
    """Place in mm of the one square a person clicked; None after a box or lasso, or no click."""
    marks = (selection or {}).get("selection", {})
    points = marks.get("points") or []
    if marks.get("box") or marks.get("lasso") or len(points) != 1:
        return None
    return points[0]["x"], points[0]["y"]


def _look(run: Run, x_l0: float, y_l0: float, zoom: float) -> None:
    there = {SLIDE: run.slide_id, SCENE: str(run.scene), RUN: run.id, AT: f"{x_l0:.0f},{y_l0:.0f},{zoom:.4g}"}
    st.switch_page("../../pages/viewer.py", query_params=there)


def _gallery(run: Run, question: data.Question) -> None:
    st.subheader("Single cells", anchor=False)
    order = st.segmented_control(
        "Order", [SUREST, DOUBTFUL], default=SUREST, required=True, key=f"cells-order-{run.id}",
        label_visibility="collapsed",
    )  # fmt: skip
    found = data.by_confidence(question, falling=order == SUREST)
    if not found:
        st.caption("No cell passes the filters; lower the confidence or choose more classes.")
        return
    chosen = st.dataframe(
        cell_rows(found),
        key=f"cells-{run.id}-{order}",
        hide_index=True,
        height=430,
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "Confidence": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1),
            "Area (µm²)": st.column_config.NumberColumn(format="%.1f"),
        },
    )
    st.caption("Choose a cell to see it in the viewer.")
    picked = [i for i in chosen.selection.rows if i < len(found)]
    if picked:
        cell = found[picked[0]]
        _look(run, cell["x_l0"], cell["y_l0"], CELL_ZOOM)


def cell_rows(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the cell list."""
    return [
        {
            "Class": label(c["cls"]),
            "Confidence": c["score"],
            "Area (µm²)": c["area_um2"],
        }
        for c in found
    ]


def _manifest(run: Run) -> None:
    with st.expander("Manifest: how this result came about", icon=":material/receipt_long:"):
        if run.manifest is None:
            st.caption("The manifest is written when the run is done.")
            return
        st.json(run_manifest(run.id), expanded=1)


def _plot(figure: Any, alt: str) -> None:
    st.plotly_chart(figure, theme=None, config=PLOT_CONFIG, alt=alt)
