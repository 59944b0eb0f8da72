"""From a row of a bench to a classifier for use, by the same recipe on the same images."""

from __future__ import annotations

import streamlit as st

from cmlcore.jobs.bench import Bench, submit_bench
from cmlcore.ui import widgets
from cmlcore.ui.bench_tables import Row, row_title


def offer(job: Bench, row: Row) -> None:
    """Ask for a name and start the training; nothing where the bench was made in the shell."""
    asked = job.request
    if asked is None or row["backbone"] not in asked.starts:
        return
    with st.popover("Make this one a classifier", icon=":material/add_box:"):
        st.markdown(f"**{widgets.plain(row_title(row))}**")
        st.caption(
            "It is taught on the same images once more: nine tenths to learn and to choose, or the set’s own "
            "parts, the rest to judge. Then it stands among the classifiers of the page Single cells."
        )
        title = st.text_input("Name of the classifier", max_chars=80, key=f"make-title-{job.id}").strip()
        if st.button("Start", type="primary", icon=":material/play_arrow:", key="make", disabled=not title):
            with widgets.said_plainly():
                submit_bench(
                    asked.model_copy(
                        update={
                            "title": title,
                            "starts": {row["backbone"]: asked.starts[row["backbone"]]},
                            "tunings": (row["tuning"],),
                            "spaces": (row["colours"],),
                        }
                    )
                )
                st.rerun()
