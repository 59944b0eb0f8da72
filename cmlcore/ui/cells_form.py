"""What to name, and by which classifier: the form of the single-cells page."""

from __future__ import annotations

import streamlit as st

from cmlcore import store
from cmlcore.cells import Filters
from cmlcore.errors import CmlError, InputError
from cmlcore.jobs.classify import Naming, Scale, name_pictures_of, name_run
from cmlcore.single_cell import shelf
from cmlcore.single_cell.shelf import ClassifierCard
from cmlcore.single_cell.stream import leukocyte_classes
from cmlcore.ui import classifier_cards, data, folder_jobs, selection, widgets
from cmlcore.ui import format as fmt
from cmlcore.ui.gallery import Batch, pictures_drop
from cmlcore.ui.pixel_size import images_mpp
from cmlcore.ui.selection import RUN

NAMING = "cells"
PICTURES, LEUKOCYTES = "Images of single cells", "A run’s leukocytes"
SCALES: dict[Scale, str] = {
    "given": "I enter it",
    "estimate": "Estimate it from the erythrocytes around",
    "files": "As the files say",
}
_ROUND = "pictures-round"


def start_form(*, expanded: bool) -> None:
    """Ask for a naming, folded away once there is one; a link may name the run."""
    asked = st.query_params.pop(RUN, None)
    if asked is not None:
        st.session_state["cells-what"], st.session_state["cells-run"] = LEUKOCYTES, asked
    with st.expander("Name cells", expanded=expanded or asked is not None, icon=":material/add:"):
        cards = shelf.cards()
        if not cards:
            _no_classifier()
            return
        card = classifier_cards.choose(cards)
        runs = {r.id: r for r in store.list_runs() if r.blocks_done and r.status not in store.ACTIVE}
        what: str | None = PICTURES
        if runs:
            what = st.segmented_control(
                "What is named", [PICTURES, LEUKOCYTES], default=PICTURES if asked is None else None,
                required=True, key="cells-what", label_visibility="collapsed",
            )  # fmt: skip
        with widgets.said_plainly():
            if what == LEUKOCYTES:
                _run_form(runs, card)
            else:
                _pictures_form(card)


def _no_classifier() -> None:
    st.info(
        "No classifier is installed yet. Make one from labelled images on the bench, or put a card and its "
        "weights into the folder classifiers of CML_HOME.",
        icon=":material/info:",
    )
    st.page_link("../../pages/bench.py", label="To the classifier bench", icon=":material/leaderboard:")


def _pictures_form(card: ClassifierCard) -> None:
    round_ = st.session_state.get(_ROUND, 0)
    batch = pictures_drop("pictures", round_)
    scale, mpp = _scale()
    if st.button("Name the cells", type="primary", icon=":material/play_arrow:", key="name-pictures"):
        _submit_pictures(batch, card, scale, mpp)


def _scale() -> tuple[Scale, float | None]:
    left, right = st.columns([2, 1], gap="medium", vertical_alignment="bottom")
    with left:
        scale = st.segmented_control(
            "Pixel size", list(SCALES), format_func=SCALES.__getitem__, default="given", required=True,
            key="cells-scale",
            help="A cell must reach the network at the size it learnt. All images of one drop should come "
            "from one microscope and camera.",
        )  # fmt: skip
    with right:
        mpp = None
        if scale == "given":
            mpp = images_mpp("cells-mpp")
        elif scale == "estimate":
            st.caption("Needs erythrocytes around the cells. The result is marked as estimated.")
        else:
            st.caption("From the resolution written into TIFF or PNG files.")
    return scale, mpp


def _submit_pictures(batch: Batch | None, card: ClassifierCard, scale: Scale, mpp: float | None) -> None:
    if batch is None:
        raise InputError("Drop at least one image first, and wait until it has arrived.")
    _go(name_pictures_of(batch.id, card.key, scale, mpp))
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1
    st.rerun()


def _run_form(runs: dict[str, store.Run], card: ClassifierCard) -> None:
    slides = {s.id: s.name for s in store.list_slides()}
    titles = selection.distinct(
        {k: f"{slides.get(r.slide_id, r.slide_id)} · {data.run_title(r)}" for k, r in runs.items()}
    )
    if st.session_state.get("cells-run") not in runs:
        st.session_state.pop("cells-run", None)
    run = st.selectbox("Run", list(titles), format_func=titles.__getitem__, key="cells-run")
    found = leukocytes(runs[run])
    st.caption(f"{fmt.count(found)} leukocytes will be named. The run’s own cells are not changed.")
    if st.button(
        "Name the cells", type="primary", icon=":material/play_arrow:", key="name-run", disabled=not found
    ):
        _go(name_run(run, card.key))
        st.rerun()


def leukocytes(run: store.Run) -> int:
    """How many leukocytes a run found.

    Raises:
        InputError: its model does not know any.
        RunError: its cells cannot be read.

    """
    table = data.table(data.ask(run))
    return table.count(Filters(classes=leukocyte_classes(table)))


def _go(key: str) -> None:
    selection.choose(NAMING, key)


def title(job: Naming) -> str:
    """One line that tells a naming from its neighbours."""
    return folder_jobs.titled(job, subject(job))


def subject(job: Naming) -> str:
    """What is named, by which classifier."""
    if job.request is None:
        return "Cells"
    by = next((c.title for c in shelf.cards() if c.key == job.request.classifier), job.request.classifier)
    return f"{_what(job)} · {by.partition(':')[0]}"


def _what(job: Naming) -> str:
    if job.request is None or job.request.run is None:
        return "Images"
    try:
        run = store.get_run(job.request.run)
        return f"Leukocytes of {store.get_slide(run.slide_id).name}"
    except CmlError:
        return "Leukocytes of a run that is gone"
