"""The benches there are: how each is called, and what is made from them."""

from __future__ import annotations

import streamlit as st

from cmlcore.ground_truth.public import short_name
from cmlcore.jobs.bench import BENCHES, Bench, bench_folder, bench_result
from cmlcore.single_cell.bench_table import RESULT
from cmlcore.single_cell.spaces import TITLES
from cmlcore.ui import folder_jobs, widgets
from models.backbone_names import NAMES


def title(job: Bench) -> str:
    """One line that tells a job from its neighbours."""
    return folder_jobs.titled(job, subject(job))


def subject(job: Bench) -> str:
    """What is compared, or made, on which images."""
    asked = job.request
    if asked is None:
        return "Bench made in the shell"
    names = [NAMES[k].title if k in NAMES else k for k in asked.starts]
    if asked.title:
        return f"Classifier “{asked.title}”: {names[0]}, {TITLES[asked.spaces[0]]}"
    return f"{short_name(asked.data.name)} · {', '.join(names)}"


def shipped_title(key: str) -> str:
    """Of a bench that came with CMLscope."""
    found = bench_result(key)
    names = list(dict.fromkeys(r["title"] for r in found["rows"]))
    return f"Shipped: {short_name(key.partition('.')[2])} · {', '.join(names)}"


def has_rows(key: str) -> bool:
    """Whether a bench has written anything yet."""
    return (bench_folder(key) / RESULT).is_file()


def finished(jobs: list[Bench]) -> None:
    """Classifiers that were made on this page, or why not; each goes away when it is dismissed."""
    for job in jobs:
        with st.container(
            border=True, horizontal=True, vertical_alignment="center", gap="small", key=f"made-{job.id}"
        ):
            widgets.status_badge(job.state)
            st.markdown(widgets.plain(f"{subject(job)}. {job.message}".strip()), width="stretch")
            if job.state == "done":
                st.page_link("../../pages/cells.py", label="Use it", icon=":material/grid_view:")
            elif st.button("Go on", icon=":material/play_arrow:", key=f"again-{job.id}"):
                BENCHES.restart(job.id)
                st.rerun()
            st.button(
                "", icon=":material/close:", key=f"dismiss-{job.id}", type="tertiary",
                help="Take off the list",
                on_click=BENCHES.delete, args=(job.id,),
            )  # fmt: skip
