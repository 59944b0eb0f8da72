"""One bench on the page: all rows in a table, one or two of them in full, costs, files."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import streamlit as st

from cmlcore import RESEARCH_USE
from cmlcore.jobs.bench import Bench
from cmlcore.single_cell.bench_table import csv_text, tables
from cmlcore.ui import bench_charts as charts
from cmlcore.ui import bench_make, selection, widgets
from cmlcore.ui import bench_tables as html
from cmlcore.ui import format as fmt
from cmlcore.ui.pixel_size import estimate_note
from cmlcore.ui.theme import PLOT_CONFIG, palette

ROW, BESIDE = "row", "beside"
ALONE = "none"


class View:
    """A bench ready to be drawn; ``job`` is None of a shipped one."""

    def __init__(self, key: str, found: dict[str, Any], job: Bench | None) -> None:
        self.key = key
        self.found = found
        self.job = job
        self.rows: dict[str, html.Row] = {html.row_key(r): r for r in html.in_order(found["rows"])}

    def draw(self) -> None:
        """Everything below the toolbar."""
        st.markdown(f"**{widgets.plain(html.about(self.found))}**")
        st.caption(f":material/call_split: {widgets.plain(self.found['split']['unit'])}")
        self._pixel_size()
        self._left_out()
        rows = list(self.rows.values())
        if not rows:
            st.caption("No row is finished yet.")
            return
        self._results(rows)
        self._contrasts()
        self._chosen(rows)
        self._costs()
        with st.expander("Manifest: how these figures came about", icon=":material/receipt_long:"):
            st.json({k: v for k, v in self.found.items() if k not in ("rows", "costs")}, expanded=2)

    def _pixel_size(self) -> None:
        """Say of an estimated one that it is, and between what it lies."""
        asked, mpp = self.job.request if self.job is not None else None, self.found["set"].get("mpp")
        if mpp and asked is not None and asked.scale == "estimate":
            st.caption(estimate_note(mpp))

    def _left_out(self) -> None:
        for note in self.found["set"]["notes"]:
            st.caption(f":material/info: {widgets.plain(note)}")
        refused = self.found["set"]["refused"]
        if refused:
            n = len(refused)
            with st.expander(f"{fmt.count(n)} left out", icon=":material/block:"):
                lines = "".join(f"<li>{widgets.text(r['why'])}</li>" for r in refused[:200])
                st.html(f'<ul class="cmlp-list">{lines}</ul>')

    def _results(self, rows: list[html.Row]) -> None:
        st.subheader("All rows", anchor=False)
        st.html(html.results_html(rows))
        folds = self.found["split"]["cut"] == "folds"
        st.caption(
            ("Mean ± standard deviation over the folds; " if folds else "")
            + "small: 95 % interval over all judged images. Precision, sensitivity and F1, macro: means over "
            "the classes. F1, weighted: by images. ROC AUC: each class against the rest, weighted by images. "
            "Bold: best of its column."
        )
        if len(rows) > 1:
            figure = st.segmented_control(
                "Figure compared", list(html.FIGURES), format_func=html.FIGURES.__getitem__,
                default="accuracy", required=True, key=f"compared-{self.key}", label_visibility="collapsed",
            )  # fmt: skip
            chart = charts.comparison(rows, figure, html.FIGURES[figure], palette())
            self._plot(chart, f"{html.FIGURES[figure]} of all rows with their intervals")

    def _contrasts(self) -> None:
        """What one change alone does; benches of older versions do not say."""
        found = self.found.get("contrasts")
        if not found:
            return
        st.subheader("What makes a difference", anchor=False)
        self._plot(charts.contrasts(found, palette()), "Differences between rows that differ in one thing")
        grouped = "patients or other groups" if self.found["set"].get("groups") else "images"
        st.caption(
            "Each line holds two rows against each other that differ in one thing and answered the same "
            f"images: by how much the share called right changes, with its 95 % interval (paired bootstrap "
            f"of {grouped}). Hollow: the interval holds zero, so the bench cannot tell. It is of these "
            "trainings; the chance in training itself, with which the folds vary too, comes on top."
        )

    def _chosen(self, rows: list[html.Row]) -> None:
        best = html.row_key(html.best_row(rows))
        st.subheader("In full", anchor=False)
        left, right = st.columns(2, gap="large")
        with left:
            first = selection.select(
                ROW, "Row", list(self.rows), self._title, default=best, icon=":material/table_rows:"
            )
        with right:
            others = [ALONE, *(k for k in self.rows if k != first)]
            second = selection.select(
                BESIDE, "Beside it", others,
                lambda k: "Set another beside it…" if k == ALONE else self._title(k),
                icon=":material/compare:",
            )  # fmt: skip
        one = self.rows[str(first)]
        if self.job is not None:
            bench_make.offer(self.job, one)
        pair = self.rows.get(str(second))
        if pair is None:
            self._alone(one)
        else:
            for column, row in zip(st.columns(2, gap="large"), (one, pair), strict=True):
                with column:
                    self._column(row)

    def _title(self, key: str) -> str:
        return html.row_title(self.rows[key])

    def _alone(self, row: html.Row) -> None:
        """One row over the whole width."""
        st.html(html.headlines_html(row))
        left, right = widgets.pair("bench-classes", (1.35, 1), "medium")
        with left:
            self._part("By class", lambda: st.html(html.classes_html(row)))
        with right:
            self._confusion(row)
        left, right = widgets.pair("bench-curves")
        with left:
            self._roc(row)
        with right:
            self._pr(row)

    def _column(self, row: html.Row) -> None:
        """One row in half of the width."""
        st.markdown(f"**{widgets.plain(html.row_title(row))}**")
        st.html(html.headlines_html(row))
        st.html(html.classes_html(row))
        self._confusion(row)
        self._roc(row)
        self._pr(row)

    def _confusion(self, row: html.Row) -> None:
        self._part("Confusion", lambda: self._plot(charts.confusion(row, palette()), "Confusion matrix", row))
        st.caption("Images; shade by the share of the row.")

    def _roc(self, row: html.Row) -> None:
        self._part("ROC curves", lambda: self._plot(charts.roc(row, palette()), "ROC curves by class", row))

    def _pr(self, row: html.Row) -> None:
        chart = charts.precision_recall(row, palette())
        self._part("Precision and sensitivity", lambda: self._plot(chart, "PR curves by class", row))

    def _part(self, title: str, draw: Any) -> None:
        st.markdown(f"##### {title}")
        draw()

    def _plot(self, fig: Any, alt: str, row: html.Row | None = None) -> None:
        key = f"{self.key}-{alt}-{html.row_key(row) if row else ''}"
        st.plotly_chart(fig, theme=None, config=PLOT_CONFIG, alt=alt, key=key)

    def _costs(self) -> None:
        st.subheader("What they cost", anchor=False)
        st.html(html.costs_html(self.found))
        st.caption(
            "For one RGB image of 224 × 224 pixels. FLOPs are multiply-adds; activations are the elements "
            "that convolutions give, of a Vision Transformer those of linear layers too."
        )

    def downloads(self) -> None:
        """Everything as JSON, and all tables in one archive."""
        st.download_button(
            "JSON", lambda: json.dumps(self.found, indent=1, ensure_ascii=False),
            file_name=f"bench-{self.key}.json", mime="application/json", icon=":material/download:",
            on_click="ignore", key=f"json-{self.key}", help="All figures, curves and settings",
        )  # fmt: skip
        st.download_button(
            "CSV", self._archive, file_name=f"bench-{self.key}.zip", mime="application/zip",
            icon=":material/download:", on_click="ignore", key=f"zip-{self.key}",
            help="All tables, one file each",
        )  # fmt: skip

    def _archive(self) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            unit = self.found["split"]["unit"]
            archive.writestr("README.txt", f"{RESEARCH_USE}\n{html.about(self.found)}\n{unit}\n")
            for table in tables(self.found):
                archive.writestr(f"{table[0]}.csv", "".join(csv_text(table)))
        return out.getvalue()
