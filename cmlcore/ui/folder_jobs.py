"""Jobs that live as folders, on a page: progress, how they broke off, deletion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from cmlcore.jobs.folder_jobs import FolderJob, FolderJobs
from cmlcore.ui import format as fmt
from cmlcore.ui import widgets

POLL_S = 1.0
Title = Callable[[FolderJob[Any]], str]


@st.fragment(run_every=POLL_S)
def live(jobs: FolderJobs[Any], key: str, title: Title, things: str) -> None:
    """Progress of one job; the page is drawn anew when it is over. ``things`` are counted."""
    with widgets.said_plainly():
        job = jobs.get(key)
        if not job.active:
            st.rerun()
        draw_progress(jobs, job, title(job), things)


def draw_progress(jobs: FolderJobs[Any], job: FolderJob[Any], title: str, things: str) -> None:
    """One state of a job that waits or is at work."""
    with st.container(border=True, gap="xsmall", key=f"progress-{job.id}"):
        st.markdown(f"**{widgets.plain(title)}**  \n{widgets.plain(stage_text(job, things))}")
        st.progress(min(1.0, job.done / job.total) if job.total else 0.0)
        st.button(
            "Cancelling" if job.stopping else "Cancel",
            key=f"cancel-{job.id}",
            icon=":material/stop_circle:",
            disabled=job.stopping,
            on_click=jobs.cancel,
            args=(job.id,),
        )


def titled(job: FolderJob[Any], subject: str) -> str:
    """One line that tells a job from its neighbours: what it is about, when, and how it ended."""
    told = "at work" if job.active else widgets.status_text(job.state).lower()
    state = "" if job.state == "done" else f" · {told}"
    return f"{subject} · {fmt.when(job.created)}{state}"


def stage_text(job: FolderJob[Any], things: str) -> str:
    """What is being done, how far it is, and the time that takes yet, where known."""
    if job.state == "waiting":
        return "Waiting for its turn"
    parts = [job.stage or "Starting"]
    if job.total > 1:
        parts.append(f"{fmt.count(job.done)} of {fmt.count(job.total)} {things}".rstrip())
    if job.left_s is not None and job.done < job.total:
        parts.append(f"about {fmt.duration(job.left_s)} left")
    return " · ".join(parts)


def broken_off(jobs: FolderJobs[Any], job: FolderJob[Any], again: str) -> None:
    """Why a job has no result, and the way to start it again, which is called ``again``."""
    with st.container(border=True, gap="small", key=f"over-{job.id}"):
        widgets.status_badge(job.state)
        if job.message and job.state != "cancelled":  # the badge says so
            st.markdown(widgets.plain(job.message))
        if job.request is not None and st.button(again, icon=":material/play_arrow:", key=f"again-{job.id}"):
            with widgets.said_plainly():
                jobs.restart(job.id)
                st.rerun()


@st.dialog("Delete?", icon=":material/delete:")
def confirm_delete(jobs: FolderJobs[Any], key: str, title: str, kept: str) -> None:
    """Say what goes, and delete."""
    widgets.confirm_deletion(
        f"**{widgets.plain(title)}**", kept, f"delete-{jobs.name}", lambda: jobs.delete(key), st.rerun
    )
