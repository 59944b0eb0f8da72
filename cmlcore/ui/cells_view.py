"""One naming on the page: the differential, the gallery with its filters, what could not be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from cmlcore.classes import UNIDENTIFIED, label
from cmlcore.jobs.classify import ANSWERS, Naming
from cmlcore.ui import cell_dialog, charts, widgets
from cmlcore.ui import format as fmt
from cmlcore.ui.cell_answers import ORDERS, Answers, differential_html, read_answers
from cmlcore.ui.gallery import gallery
from cmlcore.ui.pixel_size import estimate_note
from cmlcore.ui.theme import PLOT_CONFIG, palette

PAGE = 48
"""Cells on one page of the gallery: a multiple of 2, 3, 4, 6, 8 columns."""
FROM = {"given": "entered", "files": "from the files", "estimate": "estimated", "run": "from the slide"}


@st.cache_resource(max_entries=8, show_spinner=False)
def _answers(folder: str, changed_ns: int) -> Answers:  # noqa: ARG001
    return read_answers(Path(folder))


def answers_of(job: Naming) -> Answers:
    """The answers of a naming, read once.

    Raises:
        InputError: it is not done.
        RunError: its table is damaged.

    """
    return _answers(str(job.folder), _changed(job))


def _changed(job: Naming) -> int:
    path = job.folder / ANSWERS
    return path.stat().st_mtime_ns if path.is_file() else 0


def downloads(job: Naming) -> None:
    """Link to the streamed table."""
    st.link_button(
        "CSV", f"/namings/{job.id}.csv", icon=":material/download:",
        help="One row a cell with all probabilities; images that could not be used with the reason",
    )  # fmt: skip


def body(job: Naming) -> None:
    """Everything below the toolbar."""
    found = answers_of(job)
    counts = found.counts()
    _in_short(found, counts)
    _refused(found)
    left, right = widgets.pair("differential")
    with left:
        st.subheader("Differential", anchor=False)
        st.html(differential_html(counts))
        st.caption(
            "Per cent of the cells that were named; the interval says how far chance alone may have moved it."
        )
    with right:
        st.subheader("Cells by class", anchor=False)
        shown = {k: n for k, n in counts.items() if n and k != UNIDENTIFIED}
        st.plotly_chart(
            charts.class_bars(shown, palette()), theme=None, config=PLOT_CONFIG, alt="Cells by class"
        )
    _cells(job, found)
    _about(found)


def _in_short(found: Answers, counts: dict[str, int]) -> None:
    r = found.result
    with st.container(horizontal=True, gap="large", key="metrics"):
        st.metric("Cells", fmt.count(len(found)), width="content")
        st.metric(
            label(UNIDENTIFIED), fmt.count(counts[UNIDENTIFIED]), width="content",
            help="Unlike anything the classifier learnt: above the threshold that 97.5 % of its validation "
            "cells stay below. No class is given to them.",
        )  # fmt: skip
        if r.files:
            left_out = sum(at >= 0 for at, _, _ in r.refused)
            st.metric("Left out", fmt.count(left_out), width="content", help="Images that cannot be used")
        st.metric(f"Pixel size, {FROM[r.mpp_from]}", fmt.unit(r.mpp, "µm", 4), width="content")
        st.metric("Time", fmt.duration(r.seconds), width="content")
    if r.mpp_from == "estimate":
        st.caption(estimate_note(r.mpp))
    for note in r.notes:
        st.caption(f":material/info: {widgets.plain(note)}")


def _refused(found: Answers) -> None:
    refused = found.result.refused
    if not refused:
        return
    n = len(refused)
    with st.expander(
        f"{fmt.count(n)} {'image' if n == 1 else 'images'} left out", icon=":material/block:", expanded=n <= 8
    ):
        st.html(
            '<ul class="cmlp-list">'
            + "".join(f"<li>{widgets.text(why)}</li>" for _, _, why in refused)
            + "</ul>"
        )


@st.fragment
def _cells(job: Naming, found: Answers) -> None:
    """Filters, a page of the gallery, and the cell that was clicked; nothing else is drawn anew."""
    st.subheader("Cells", anchor=False)
    with widgets.said_plainly():
        rows = _filtered(job, found)
        page = _page(job, len(rows))
        shown = rows[page * PAGE : (page + 1) * PAGE]
        if not len(shown):
            st.caption("No cell passes the filters; choose more classes or a wider range.")
            return
        url = f"/namings/{job.id}/{{row}}.jpeg?of={_changed(job):x}"
        picked = gallery(found.shown(shown, url), key=f"gallery-{job.id}")
        if picked is not None and 0 <= picked < len(found):
            cell_dialog.open_cell(job, found, picked, [int(r) for r in rows])


def _filtered(job: Naming, found: Answers) -> Any:
    counts = {k: n for k, n in found.counts().items() if n}
    classes = st.pills(
        "Classes", list(counts), format_func=lambda k: f"{label(k)} {fmt.count(counts[k])}",
        selection_mode="multi", wrap=True, key=f"cells-classes-{job.id}",
        help="None chosen shows all of them.",
    )  # fmt: skip
    left, right = st.columns([1, 1], gap="large", vertical_alignment="bottom")
    with left:
        order = st.selectbox(
            "Order", list(ORDERS), format_func=ORDERS.__getitem__, key=f"cells-order-{job.id}"
        )
    with right:
        least, most = st.slider(
            "Probability of the likeliest class", 0.0, 1.0, (0.0, 1.0), 0.01, key=f"cells-score-{job.id}"
        )
    return found.rows(classes or list(counts), least, most, order)


def _page(job: Naming, n: int) -> int:
    """Which page of the gallery; the buttons to turn it, where there are several."""
    pages = max(1, -(-n // PAGE))
    key = f"cells-page-{job.id}"
    page = min(int(st.session_state.get(key, 0)), pages - 1)
    first, last = page * PAGE + 1, min(n, (page + 1) * PAGE)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(
            f"{fmt.count(first)} to {fmt.count(last)} of {fmt.count(n)} cells" if n else "", width="content"
        )
        if pages > 1:
            for icon, to, name in (
                ("first_page", 0, "First"),
                ("chevron_left", page - 1, "Previous"),
                ("chevron_right", page + 1, "Next"),
                ("last_page", pages - 1, "Last"),
            ):
                st.button(
                    "", icon=f":material/{icon}:", key=f"page-{name}-{job.id}", help=f"{name} page",
                    disabled=not 0 <= to < pages or to == page, on_click=_turn, args=(key, to),
                    type="tertiary",
                )  # fmt: skip
    return page


def _turn(key: str, to: int) -> None:
    st.session_state[key] = to


def _about(found: Answers) -> None:
    r = found.result
    with st.expander("How these names came about", icon=":material/receipt_long:"):
        widgets.facts(
            {
                "Classifier": r.title,
                "Key": r.classifier,
                "SHA-256": r.sha256,
                "Device": r.device,
                "Pixel size": f"{r.mpp:g}\u202fµm, {FROM[r.mpp_from]}",
                "Classes": ", ".join(label(c) for c in r.classes),
            }
        )
