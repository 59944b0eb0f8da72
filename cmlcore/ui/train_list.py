"""The trainings there are: those at work on top, the others in a table with actions for the chosen one."""

from __future__ import annotations

import streamlit as st

from cmlcore.jobs import resume_training, training_progress
from cmlcore.store import Training, training_dir
from cmlcore.training import run_dir
from cmlcore.ui import format as fmt
from cmlcore.ui import train_charts, widgets
from cmlcore.ui.model_cards import KINDS
from cmlcore.ui.train_view import POLL_S, confirm_delete, go, progress_panel


@st.fragment(run_every=POLL_S)
def at_work(row: Training) -> None:
    """Live progress of one training that is queued or running."""
    with widgets.said_plainly():
        now = training_progress(row.id)
        if now.status != row.status:
            st.rerun()
        progress_panel(now, f"**{widgets.plain(row.name)}** :gray[{KINDS[row.settings['model']]}]")


def finished(rows: list[Training]) -> None:
    """Table of the trainings that are over; choosing one opens its actions."""
    if not rows:
        return
    widgets.action_table(
        [table_row(r) for r in rows],
        "trainings-table",
        {
            "Best mAP50": st.column_config.NumberColumn(format="%.3f"),
            "Steps": st.column_config.NumberColumn(format="localized"),
            "Asked": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
        },
        "Choose a training to open, resume or delete it.",
        lambda i: _actions(rows[i]),
    )


def table_row(row: Training) -> dict[str, object]:
    """What the table says of one training."""
    now = training_progress(row.id)
    val = train_charts.of_split(run_dir.read_curves(training_dir(row.id)), "val")
    return {
        "Name": row.name,
        "Network": KINDS[row.settings["model"]],
        "Recipe": row.settings.get("preset") or "free",
        "Status": widgets.status_text(row.status),
        "Best mAP50": max((e["map50"] for e in val if e.get("map50") is not None), default=None),
        "Steps": now.step,
        "Time": fmt.duration(now.seconds),
        "Device": now.device,
        "Asked": row.created_at,
        "Remark": row.message,
    }


def _actions(row: Training) -> None:
    if st.button("Open", icon=":material/show_chart:"):
        go(row.id)
    if row.status in ("failed", "cancelled") and st.button("Resume", icon=":material/play_arrow:"):
        with widgets.said_plainly():
            resume_training(row.id)
            st.rerun()
    if st.button("Delete", icon=":material/delete:"):
        confirm_delete(row)
