"""The paper comparison's parts: which training fills which place, the figures, the tables, the files."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from cmlcore.job_folder import STATUS
from cmlcore.report import paper, paper_figures
from cmlcore.report.paper import SLOTS, TASKS, TYPES, Slot, Training
from cmlcore.settings import settings
from cmlcore.training.run_dir import CURVES, SETTINGS
from cmlcore.ui import format as fmt
from cmlcore.ui import selection, widgets
from cmlcore.ui.theme import PLOT_CONFIG, Palette, palette, template

AXES = {"epoch": "Epochs", "step": "Steps", "minutes": "Minutes"}
EMPTY = "none"
TYPE1 = "#E69F00"  # of the Okabe-Ito palette; no class has it


def known_trainings() -> dict[Slot, list[Training]]:
    """The trainings of each place: finished ones first, then the newest; what ships comes last."""
    root = settings().trainings_dir
    return _trainings(str(root), _changes(root))


def _changes(root: Path) -> tuple[tuple[str, int], ...]:
    """What has changed since: the time of every file that is read."""
    names = (SETTINGS, STATUS, CURVES)
    files = [f for name in names for depth in ("*", "*/*") for f in root.glob(f"{depth}/{name}")]
    return tuple(sorted((str(f.relative_to(root)), f.stat().st_mtime_ns) for f in files))


@st.cache_resource(max_entries=2, show_spinner=False)
def _trainings(root: str, changes: tuple[tuple[str, int], ...]) -> dict[Slot, list[Training]]:  # noqa: ARG001
    return paper.known_trainings(Path(root))


def choose(known: dict[Slot, list[Training]]) -> dict[Slot, Training]:
    """Four places, each with the training that fills it; the newest finished one where nobody chose."""
    chosen: dict[Slot, Training] = {}
    for column, task in zip(st.columns(2, gap="large"), TASKS, strict=True):
        with column:
            st.markdown(f"**{TASKS[task].title}**{paper.phantom_word(TASKS[task].phantom)}")
            for slot in (s for s in SLOTS if s[0] == task):
                trainings = {("shipped." if t.shipped else "") + t.folder.name: t for t in known[slot]}
                picked = selection.select(
                    f"{task}-{slot[1]}",
                    TYPES[slot[1]],
                    [*trainings, EMPTY],
                    partial(_choice, trainings),
                    label_visibility="visible",
                )
                if picked in trainings:
                    chosen[slot] = trainings[picked]
    return chosen


def _choice(trainings: dict[str, Training], key: str) -> str:
    return title(trainings[key]) if key in trainings else "None"


def title(training: Training) -> str:
    """One line that tells a training from its neighbours."""
    best = training.best
    if training.shipped:
        parts = ["Shipped"]
    else:
        made = datetime.fromtimestamp((training.folder / SETTINGS).stat().st_mtime, UTC)
        parts = [fmt.when(made), widgets.status_text(str(training.status.get("state", "done")))]
    if best is not None:
        parts.append(f"mAP50 {best['map50']:.3f}")
    if training.phantom:
        parts.append(paper.PHANTOM)
    return " · ".join(parts)


def look(colors: Palette) -> paper_figures.Look:
    """The figures' colours on this page."""
    return paper_figures.Look(template(colors), colors.text, colors.muted, colors.line, TYPE1, colors.accent)


def figures(chosen: dict[Slot, Training]) -> None:
    """A and B for each task that has a training."""
    axis: Any = st.segmented_control(
        "Over", list(AXES), format_func=AXES.__getitem__, default="epoch", required=True, key="paper-axis",
        label_visibility="collapsed",
    )  # fmt: skip
    for task in paper_figures.tasks_of(chosen):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.subheader(paper.full_title(chosen, task), anchor=False, width="content")
            if paper.has_phantoms(chosen, task):
                st.badge("Phantoms: drawn cells", icon=":material/draw:", color="orange")
        fig = paper_figures.comparison(chosen, task, axis, look(palette()), named=False)
        fig.update_layout(margin_t=60, height=fig.layout.height + 24)  # room for the chart's buttons
        st.plotly_chart(
            fig,
            theme=None,
            config=PLOT_CONFIG,
            alt=f"Loss and mAP of both types: {paper.full_title(chosen, task)}",
            key=f"paper-{task}",
        )
    st.caption(paper.note(chosen) + " Validation mAP by the boxes of the outlines.")


def tables(chosen: dict[Slot, Training]) -> None:
    """Final figures, and the settings in which the trainings differ."""
    st.subheader("Final figures", anchor=False)
    head, rows = paper_figures.figure_table(chosen)
    st.html(_html(head, rows))
    st.subheader("Settings that differ", anchor=False)
    head, rows = paper_figures.setting_table(chosen)
    if rows:
        st.html(_html(head, rows))
        st.caption("Where a training differs from the other type’s, or from the published recipe.")
    else:
        st.caption("None: both types were trained alike, as published.")


def _html(head: list[str], rows: list[list[str]]) -> str:
    table = widgets.table_html(head, [[widgets.text(c) for c in row] for row in rows], total=False)
    return f'<div class="cmlp-texts">{table}</div>'


def downloads(chosen: dict[Slot, Training]) -> None:
    """Every file that the command writes, the same bytes."""
    names = {
        "paper.html": "HTML",
        "paper.json": "JSON",
        "paper_figures.csv": "Figures",
        "paper_curves.csv": "Curves",
    }
    kinds = {"html": "text/html", "json": "application/json", "csv": "text/csv"}
    for name, text in names.items():
        st.download_button(
            text,
            partial(_file, chosen, name),
            file_name=name,
            mime=kinds[name.rpartition(".")[2]],
            icon=":material/download:",
            on_click="ignore",
            key=f"paper-file-{name}",
            help="CSV" if name.endswith(".csv") else None,
        )


def _file(chosen: dict[Slot, Training], name: str) -> bytes:
    return dict(paper_figures.files(chosen))[name]
