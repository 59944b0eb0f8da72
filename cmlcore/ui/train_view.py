"""One training on the page: how far it is, its curves, what it was told, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from cmlcore.classes import label
from cmlcore.files import read_json
from cmlcore.ground_truth.public import short_name
from cmlcore.jobs import (
    TrainingProgress,
    cancel_training,
    delete_training,
    resume_training,
    training_progress,
)
from cmlcore.store import Training, training_dir
from cmlcore.training import run_dir
from cmlcore.ui import format as fmt
from cmlcore.ui import train_charts, widgets
from cmlcore.ui.model_cards import KINDS
from cmlcore.ui.progress import left_text
from cmlcore.ui.theme import PLOT_CONFIG, palette
from cmlcore.ui.train_data import class_table

POLL_S = 2.0
TRAINING, NEW = "training", "new"
SHARED = "Runs go on meanwhile; a run and a training share this machine, so both are slower."


def view(row: Training) -> None:
    """Everything about one training; drawn anew every two seconds while it is at work."""
    with st.container(horizontal=True, vertical_alignment="center", key="toolbar"):
        if st.button("All trainings", icon=":material/arrow_back:", key="back"):
            leave()
        st.subheader(widgets.plain(row.name), anchor=False, width="content")
        widgets.status_badge(row.status)
    if training_progress(row.id).active:
        live(row)
    else:
        _ended(row)
        curves(row)
    class_table(read_json(training_dir(row.id) / run_dir.DATA))
    told, machine = st.columns(2, gap="large")
    with told:
        st.subheader("What it was told", anchor=False)
        widgets.facts(setting_facts(row.settings))
    with machine:
        _machine(row)


@st.fragment(run_every=POLL_S)
def live(row: Training) -> None:
    """Progress and curves of a training at work; the page is drawn anew when it is over."""
    with widgets.said_plainly():
        now = training_progress(row.id)
        if now.status != row.status:
            st.rerun()
        progress_panel(now)
        curves(row)


def progress_panel(now: TrainingProgress, heading: str = "") -> None:
    """Bar, numbers and the way to stop, of a training at work; with a heading also the way to open it."""
    with st.container(border=True, gap="xsmall", key=f"training-{now.training_id}"):
        if heading:
            st.markdown(heading)
        left = left_text("training", now.fraction, now.left_s, now.ahead if now.status == "queued" else None)
        st.markdown(f"**{stage_text(now)}**  \n{left}")
        st.progress(now.fraction)
        st.caption(" · ".join(detail_texts(now)))
        with st.container(horizontal=True, gap="small"):
            if heading and st.button("Open", key=f"open-{now.training_id}", icon=":material/show_chart:"):
                go(now.training_id)
            if st.button(
                "Cancelling" if now.stopping else "Cancel",
                key=f"cancel-{now.training_id}",
                icon=":material/stop_circle:",
                disabled=now.stopping,
                help="The last checkpoint is kept; the training can be resumed.",
            ):
                cancel_training(now.training_id)
                st.rerun()


def stage_text(now: TrainingProgress) -> str:
    """What is being done, in words."""
    if now.status == "queued":
        return "Waiting for its turn"
    if now.stopping:
        return "Saving a checkpoint"
    return widgets.plain(now.stage.rstrip(".")) or "Starting"


def detail_texts(now: TrainingProgress) -> list[str]:
    """What is known of the training, most telling first."""
    found = []
    if now.epochs:
        found.append(f"Epoch {_passes(now.epoch)} of {_passes(now.epochs)}")
    if now.step:
        found.append(f"step {fmt.count(now.step)}" + (f" of {fmt.count(now.steps)}" if now.steps else ""))
    if now.seconds:
        found.append(f"{fmt.duration(now.seconds)} worked")
    if now.device:
        found.append(now.device)
    return [found[0][:1].upper() + found[0][1:], *found[1:]] if found else ["Nothing measured yet"]


def _passes(epochs: float) -> str:
    return f"{epochs:.1f}".removesuffix(".0")


def curves(row: Training) -> None:
    """Loss and precision so far, side by side."""
    events = run_dir.read_curves(training_dir(row.id))
    if not events:
        if row.status not in ("failed", "cancelled"):
            st.caption(":material/show_chart: Curves appear here with the first steps.")
        return
    colors = palette()
    loss, precision = st.columns(2, gap="medium")
    with loss:
        fig = train_charts.loss_curves(events, colors)
        st.plotly_chart(fig, theme=None, key=f"loss-{row.id}", config=PLOT_CONFIG)
    with precision:
        if train_charts.of_split(events, "val"):
            fig = train_charts.map_curves(events, row.settings["classes"], colors)
            st.plotly_chart(fig, theme=None, key=f"map-{row.id}", config=PLOT_CONFIG)
        else:
            st.caption(":material/show_chart: Precision appears here with the first validation.")


def _ended(row: Training) -> None:
    """How it ended, and what can be done now."""
    now = training_progress(row.id)
    with st.container(border=True, gap="small", key=f"ended-{row.id}"):
        st.markdown(
            f"**{_ending(row)}**  \n{' · '.join(detail_texts(now))}" if now.step else f"**{_ending(row)}**"
        )
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            if row.status == "done":
                _results(row)
            elif st.button("Resume", icon=":material/play_arrow:", key="resume", type="primary"):
                with widgets.said_plainly():
                    resume_training(row.id)
                    st.rerun()
            if st.button("Delete", icon=":material/delete:", key="delete"):
                confirm_delete(row)


def _ending(row: Training) -> str:
    if row.message:
        return widgets.plain(row.message)
    return "Done" if row.finished_at is None else f"Done at {fmt.when(row.finished_at)}"


def _results(row: Training) -> None:
    key = model_key(row)
    st.page_link(
        "../../pages/models.py", label="The model", icon=":material/hub:", query_params={"model": key}
    )
    st.page_link(
        "../../pages/evaluate.py", label="Evaluate it", icon=":material/rule:", query_params={"model": key}
    )


def model_key(row: Training) -> str:
    """Key of the model that came of a training that is done."""
    cards = sorted((training_dir(row.id) / run_dir.MODEL).glob("*.json"))
    return cards[0].stem if cards else str(row.settings.get("key") or "")


def setting_facts(settings: dict[str, Any]) -> dict[str, str]:
    """What a training was told, without what was left open."""
    pairs: dict[str, str] = {"Network": KINDS.get(settings.get("model", ""), "–")}
    for name, value in settings.items():
        if name in ("model", "data") or value in (None, "", [], {}):
            continue
        if name == "backbone_weights":
            value = Path(str(value)).name  # where it lies is the server's business
        pairs[said(name)] = ", ".join(map(label, value)) if name == "classes" else _value(value)
    pairs["Data"] = ", ".join(short_name(Path(str(p)).name) for p in settings.get("data", []))
    return pairs


_NAMES = {
    "lr": "Learning rate", "ema": "Averaging (EMA)", "mpp": "µm per pixel",
    "image_mpp": "µm per pixel of images",
    "save_s": "Checkpoint every (s)", "key": "Key of the model", "title": "Title of the model",
    "clip": "Limit of the gradient", "frozen": "Frozen blocks", "limit": "Images at most",
    "leave_out": "Sources left out",
    "start_from": "Start from", "batch": "Tiles a step", "tile": "Side of a tile (px)", "preset": "Recipe",
    "jpeg": "JPEG", "blank": "Bare ground", "paste": "Pasted cells", "turn": "Turned and mirrored",
    "balance": "Class balance", "loss_balance": "Balance in the loss", "warmup": "Warm-up (share)",
    "validate_every": "Validate every (steps)", "validate_images": "Images to validate on",
    "early_stop": "Stop early after", "devices": "Number of devices", "workers": "Loader processes",
    "backbone_weights": "Weights of the backbone", "pretrained": "Public weights",
    "cmlscope": "CMLscope",
}  # fmt: skip


def said(name: str) -> str:
    """A setting's name as people read it."""
    return _NAMES.get(name) or name.replace("_", " ").capitalize()


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_value(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _machine(row: Training) -> None:
    found = read_json(training_dir(row.id) / run_dir.ENVIRONMENT)
    if found:
        st.subheader("Where it ran", anchor=False)
        widgets.facts({said(k): _value(v) for k, v in found.items() if v not in (None, "", [], {})})


@st.dialog("Delete this training?", icon=":material/delete:")
def confirm_delete(row: Training) -> None:
    """Say what goes, and delete."""
    text = f"**{widgets.plain(row.name)}**  \nIts checkpoints and curves will be removed."
    kept = "A model that came of it stays."
    widgets.confirm_deletion(text, kept, "delete-training", lambda: delete_training(row.id), leave)


def leave() -> None:
    """Back to the list."""
    st.query_params.pop(TRAINING, None)
    st.rerun()


def go(training_id: str) -> None:
    """Open one training, or the form for a new one."""
    st.query_params[TRAINING] = training_id
    st.rerun()
