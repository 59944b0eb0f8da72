"""Live progress of one run: everything it shows comes from the run's row, so a reload finds it again."""

from __future__ import annotations

import streamlit as st

from cmlcore.jobs import Progress, cancel_run, progress
from cmlcore.ui import format as fmt
from cmlcore.ui import widgets

POLL_S = 1.0


@st.fragment(run_every=POLL_S)
def live_progress(run_id: str, heading: str = "") -> None:
    """Stage, bar, numbers and the way to stop; the page is drawn anew when the run is over."""
    with widgets.said_plainly():
        now = progress(run_id)
        if not now.active:
            st.rerun()
        draw(now, heading)


def draw(now: Progress, heading: str) -> None:
    """One state of a run at work; ``heading`` is Markdown."""
    with st.container(border=True, gap="xsmall", key=f"progress-{now.run_id}"):
        if heading:
            st.markdown(heading)
        left = left_text("run", now.fraction, now.eta_s, now.ahead if now.status == "queued" else None)
        st.markdown(f"**{now.stage_label}**  \n{left}")
        st.progress(min(1.0, max(0.0, now.fraction)))
        st.caption(" · ".join(detail_texts(now)))
        stopping = st.session_state.get(f"stopping-{now.run_id}", False)
        if st.button(
            "Cancelling" if stopping else "Cancel",
            key=f"cancel-{now.run_id}",
            icon=":material/stop_circle:",
            disabled=stopping,
        ):
            cancel_run(now.run_id)
            st.session_state[f"stopping-{now.run_id}"] = True
            st.rerun(scope="fragment")


def left_text(thing: str, fraction: float, left_s: float | None, ahead: int | None) -> str:
    """Share done and time left, as far as known; for what waits, how many come before.

    Args:
        thing: what it is one of, "run" or "training".
        fraction: share behind, 0..1.
        left_s: seconds left; None while unknown.
        ahead: how many come before; None for one that does not wait.

    """
    if ahead is not None:
        return f"{ahead} {thing}{'s' if ahead > 1 else ''} before this one" if ahead else "Next in line"
    share = fmt.percent(fraction, 0)
    return f"{share} · about {fmt.duration(left_s)} left" if left_s is not None else share


def detail_texts(now: Progress) -> list[str]:
    """What is known of the run at work, most telling first."""
    parts = []
    if now.total:
        parts.append(f"{fmt.count(now.done)} of {fmt.count(now.total)} blocks")
        parts.append(f"{fmt.count(now.cells)} cells")
    if now.mm2_per_s is not None:
        parts.append(widgets.speed(now.mm2_per_s))
    if now.empty:
        parts.append(f"{fmt.count(now.empty)} blocks skipped as empty")
    if now.recut:
        parts.append(f"{fmt.count(now.recut)} blocks cut again with a larger margin")
    if now.device:
        parts.append(now.device)
    return parts or ["Nothing measured yet"]
