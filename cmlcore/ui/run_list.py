"""The runs page's parts: runs at work on top, the others in a table with actions for the chosen one."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from cmlcore.jobs import delete_run, resume_run
from cmlcore.store import Run
from cmlcore.ui import data, widgets
from cmlcore.ui import format as fmt
from cmlcore.ui.progress import live_progress
from cmlcore.ui.selection import RUN, SCENE, SLIDE


def at_work(runs: list[Run], names: Mapping[str, str]) -> None:
    """Live progress of the runs that are queued or running, the oldest first."""
    for run in reversed(runs):
        name = widgets.plain(names.get(run.slide_id, run.slide_id))
        live_progress(run.id, f"**{name}** :gray[{widgets.plain(data.run_title(run))}]")


def finished(runs: list[Run], names: Mapping[str, str]) -> None:
    """Table of the runs that are over; choosing a row opens its actions."""
    if not runs:
        return
    widgets.action_table(
        rows(runs, names),
        "runs-table",
        {
            "Cells": st.column_config.NumberColumn(format="localized", help="With those unidentified"),
            "mm²/s": st.column_config.NumberColumn(format="%.3g"),
            "Started": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
        },
        "Choose a run to open, resume or delete it.",
        lambda i: _actions(runs[i]),
    )


def rows(runs: list[Run], names: Mapping[str, str]) -> list[dict[str, object]]:
    """One row a run."""
    return [
        {
            "Slide": names.get(r.slide_id, r.slide_id),
            "Model": data.model_name(r.model),
            "Region": data.region_text(r).capitalize(),
            "Status": widgets.status_text(r.status),
            "Cells": r.cells,
            "Time": fmt.duration(r.worked_s),
            "mm²/s": r.mm2_per_s,
            "Device": r.device,
            "Started": r.created_at,
            "Remark": r.message,
        }
        for r in runs
    ]


def _actions(run: Run) -> None:
    there = {SLIDE: run.slide_id, SCENE: str(run.scene), RUN: run.id}
    if st.button("Open in the viewer", icon=":material/biotech:"):
        st.switch_page("../../pages/viewer.py", query_params=there)
    if st.button("Results", icon=":material/bar_chart:", disabled=not run.blocks_done):
        st.switch_page("../../pages/results.py", query_params={SLIDE: run.slide_id, RUN: run.id})
    if run.status in ("failed", "cancelled") and st.button("Resume", icon=":material/play_arrow:"):
        with widgets.said_plainly():
            resume_run(run.id)
            st.rerun()
    if st.button("Delete", icon=":material/delete:"):
        confirm_delete(run)


@st.dialog("Delete this run?", icon=":material/delete:")
def confirm_delete(run: Run) -> None:
    """Say what goes, and delete."""
    text = f"**{data.run_title(run)}**  \nThe run and its {fmt.count(run.cells)} cells will be removed."
    widgets.confirm_deletion(text, "The slide stays.", "delete-run", lambda: delete_run(run.id), st.rerun)
