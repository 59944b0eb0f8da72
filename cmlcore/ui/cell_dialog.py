"""One cell large: its picture, where the classifier looked, every class's probability, how unlike it is."""

from __future__ import annotations

import streamlit as st

from cmlcore import store
from cmlcore.classes import UNIDENTIFIED, color, label
from cmlcore.errors import CmlError
from cmlcore.jobs.classify import Naming
from cmlcore.jobs.crops import crop
from cmlcore.jobs.explainer import EXPLAINER
from cmlcore.ui import data, widgets
from cmlcore.ui import format as fmt
from cmlcore.ui.cell_answers import Answers, unlike_number
from cmlcore.ui.results import CELL_ZOOM
from cmlcore.ui.selection import AT, RUN, SCENE, SLIDE

METHODS = {
    "attention": "Attention: what the network’s last layer gathers from, whatever the class.",
    "Grad-CAM": "Grad-CAM: where the features lie that speak for this class.",
}
_AT = "cell-shown"


def open_cell(job: Naming, found: Answers, row: int, rows: list[int]) -> None:
    """Open the dialog; ``rows`` are those of the gallery, through which one may walk."""
    st.session_state[_AT] = row
    _dialog(job, found, rows)


@st.dialog("Cell", width="large", icon=":material/biotech:")
def _dialog(job: Naming, found: Answers, rows: list[int]) -> None:
    row = int(st.session_state[_AT])
    _walk(row, rows)
    own, map_, right = st.columns([1, 1, 1.1], gap="medium")
    with own:
        st.image(crop(job.folder, row), width="stretch")
        st.caption("What the classifier saw")
    with right:
        cls = _answer(found, row)
    with map_, widgets.said_plainly():
        _explanation(job, row, cls)
    if job.request is not None and job.request.run is not None:
        with widgets.said_plainly():
            _viewer_link(job.request.run, int(found.cell_ids[row]))


def _walk(row: int, rows: list[int]) -> None:
    at = rows.index(row) if row in rows else 0
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for name, icon, to in (("Previous", "chevron_left", at - 1), ("Next", "chevron_right", at + 1)):
            st.button(
                name, icon=f":material/{icon}:", key=f"cell-{name}", disabled=not 0 <= to < len(rows),
                on_click=_show, args=(rows[to % len(rows)],),
            )  # fmt: skip
        st.caption(f"{fmt.count(at + 1)} of {fmt.count(len(rows))}")


def _show(row: int) -> None:
    st.session_state[_AT] = row


def _answer(found: Answers, row: int) -> str:
    """What is said of the cell; returns the class whose explanation is wanted."""
    ranked = found.ranked(row)
    key, unlike = str(found.cls[row]), float(found.unlike[row])
    if key == UNIDENTIFIED:
        st.badge(f"{label(UNIDENTIFIED)}: unlike the training cells", icon=":material/help:", color="orange")
        st.markdown(f"Likeliest class: **{label(ranked[0][0])}**")
    else:
        st.html(f'<p class="cmlp-answer">{widgets.chip(key)}</p>')
    st.caption(widgets.plain(found.name(row)))
    st.html(bars_html(ranked))
    st.html(unlike_html(unlike))
    return str(
        st.selectbox(
            "Explain", [k for k, _ in ranked], format_func=label, key=f"explain-{row}",
            help="The class whose evidence is shown; the attention of a transformer is the same for all.",
        )
    )  # fmt: skip


def bars_html(ranked: list[tuple[str, float]]) -> str:
    """Every class with its probability as a bar."""
    lines = "".join(
        f"<span>{widgets.text(label(k))}</span>"
        f'<i style="--w:{100 * p:.1f}%;--c:{color(k)}"></i><b>{fmt.percent(p)}</b>'
        for k, p in ranked
    )
    return f'<div class="cmlp-bars cmlp-bars-large">{lines}</div>'


def unlike_html(unlike: float) -> str:
    """How unlike the training cells, on a scale with the threshold marked: at a half of its width."""
    tone = "var(--cmlp-doubt)" if unlike > 1 else "var(--cmlp-accent)"
    word = "above" if unlike > 1 else "below"
    return (
        '<div class="cmlp-unlike"><span>Unlike the training cells</span>'
        f"<b>{unlike_number(unlike)}</b>"
        f'<i style="--w:{min(100.0, 50 * unlike):.1f}%;--c:{tone}"></i>'
        f"<small>{word} the threshold 1</small></div>"
    )


def _explanation(job: Naming, row: int, cls: str) -> None:
    with st.spinner("Asking the classifier where it looked"):
        method, path = EXPLAINER.ask(job.folder, row, cls)
    st.image(path.read_bytes(), width="stretch")
    st.caption(METHODS[method])


def _viewer_link(run_id: str, cell_id: int) -> None:
    """Go to the cell on its slide, as long as the run is there."""
    try:
        run = store.get_run(run_id)
        cell = data.table(data.ask(run)).cell(cell_id)
    except CmlError:
        st.caption("The run is gone; the cell cannot be shown on its slide any more.")
        return
    there = {
        SLIDE: run.slide_id,
        SCENE: str(run.scene),
        RUN: run.id,
        AT: f"{cell['x_l0']:.0f},{cell['y_l0']:.0f},{CELL_ZOOM:.4g}",
    }
    st.page_link(
        "../../pages/viewer.py", label="Show it on the slide", icon=":material/biotech:", query_params=there
    )
