"""One evaluation on the page: figures, tables, charts, and the files to take away."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from functools import partial
from typing import Any

import streamlit as st

from cmlcore import RESEARCH_USE
from cmlcore.classes import label
from cmlcore.evaluation.result import ALL, Calibration, CountError, Evaluation, ShapeFigures
from cmlcore.evaluation.result_tables import csv_bytes, csv_tables
from cmlcore.ui import evaluation_charts as charts
from cmlcore.ui import evaluation_tables as tables
from cmlcore.ui import format as fmt
from cmlcore.ui import widgets
from cmlcore.ui.theme import PLOT_CONFIG, palette

SUBSET_FIGURES = {"recall": "Recall", "precision": "Precision", "f1": "F1", "iou": "IoU", "ap50": "AP50"}


class View:
    """One evaluation and its tables by name, ready to be drawn."""

    def __init__(self, key: str, found: Evaluation) -> None:
        """``key`` is the evaluation's id; it names the widgets and the files."""
        self.key = key
        self.found = found
        self.files = {table[0]: table for table in csv_tables(found)}

    @property
    def min_score(self) -> float | None:
        """The confidence from which cells count in all figures but AP."""
        value = self.found.manifest.settings.get("min_score")
        return float(value) if isinstance(value, int | float) else None

    def section(self, title: str, **files: str) -> None:
        """Heading with the CSV of what stands below it; ``files`` are tables by what the button says."""
        with st.container(horizontal=True, vertical_alignment="center", gap="xxsmall"):
            st.subheader(title, anchor=False)
            for text, name in files.items():
                st.download_button(
                    text,
                    partial(csv_bytes, self.files[name], self.found),
                    file_name=f"evaluation-{self.key}-{name}.csv",
                    mime="text/csv",
                    icon=":material/download:",
                    type="tertiary",
                    on_click="ignore",
                    key=f"csv-{self.key}-{name}",
                    help=f"“{title}” as a table",
                )

    def draw(self) -> None:
        """Everything below the toolbar."""
        st.html(tables.headlines_html(tables.headlines(self.found)))
        st.caption(about(self.found))
        if self.found.notes:
            st.caption("  \n".join(f":material/info: {widgets.plain(n)}" for n in self.found.notes))
        shape = self._classes()
        self._confusion_and_curves(shape)
        self._counts_and_calibration()
        self._thresholds(shape)
        self._subsets_and_sources()
        self._manifest()

    def _classes(self) -> ShapeFigures:
        self.section("By class", CSV="figures")
        kinds = list(self.found.shapes)
        kind = kinds[0]
        if len(kinds) > 1:
            kind = st.segmented_control(
                "Judged by",
                kinds,
                format_func=tables.SHAPES.__getitem__,
                default=kinds[-1],
                required=True,
                key=f"shape-{self.key}",
                label_visibility="collapsed",
            )
        shape = self.found.shapes[kind]
        st.html(tables.class_table(self.found, shape))
        st.caption(
            "AP looks at all confidences; the other figures at cells of at least "
            f"{fmt.decimal(self.min_score, 2)}, matched to true cells of their class at IoU 0.5. Small: 95 % "
            "intervals over images. Count bias: found less true cells per image."
        )
        return shape

    def _confusion_and_curves(self, shape: ShapeFigures) -> None:
        left, right = st.columns(2, gap="large")
        with left:
            self.section("Confusion", CSV="confusion")
            plot(charts.confusion_map(self.found.confusion, palette()), "Confusion matrix")
            st.caption(
                "Cells and per cent of each row. Paired by overlap whatever the class; missed: a true cell "
                "that nothing overlaps, invented: a found cell where none is."
            )
        with right:
            self.section("Precision and recall", CSV="precision_recall")
            plot(charts.pr_curves(shape, palette()), "Precision over recall by class")
            st.caption("At IoU 0.5. The dot is the threshold in use.")

    def _counts_and_calibration(self) -> None:
        left, right = st.columns(2, gap="large")
        with left:
            self.section("Counts per image", CSV="count_error", Images="images")
            key = self._pick("Class counted", self.found.counts, "count")
            if key is not None:
                self._agreement(key, self.found.counts[key])
        with right:
            self.section("Is the confidence right?", CSV="calibration")
            key = self._pick("Class judged", self.found.calibration, "calibration")
            if key is not None:
                self._reliability(key, self.found.calibration[key])

    def _agreement(self, key: str, error: CountError) -> None:
        plot(charts.bland_altman(key, error, palette()), "Bland-Altman plot of the counts")
        st.caption(
            f"{fmt.count(error.images)} images. On average {fmt.signed(error.bias.value)} cells an image, "
            f"95 % of the images between {fmt.signed(error.lower.value)} and {fmt.signed(error.upper.value)} "
            "(Bland and Altman 1986)."
        )

    def _reliability(self, key: str, found: Calibration) -> None:
        plot(charts.reliability(key, found, self.min_score, palette()), "Reliability diagram")
        ends = tables.interval(found.error)
        st.caption(
            f"Expected calibration error {fmt.decimal(found.error.value, 3)}"
            + (f" ({ends})" if ends else "")
            + f", of the cells shown {fmt.decimal(found.error_shown.value, 3)}; "
            f"{fmt.count(found.cells)} cells. On the dotted line, cells of confidence 0.8 are right in 80 % "
            "of all cases. The upright line is the threshold in use."
        )

    def _thresholds(self, shape: ShapeFigures) -> None:
        left, right = st.columns(2, gap="large")
        with left:
            self.section("Choice of the threshold", CSV="thresholds")
            key = self._pick("Class of the threshold", shape.thresholds, "threshold")
            if key is not None:
                curve = shape.thresholds[key]
                plot(charts.threshold_curves(curve, self.min_score, palette()), "Figures by threshold")
                if curve.best_score is not None:
                    st.caption(
                        f"F1 is best ({fmt.decimal(curve.best_f1, 3)}) from confidence "
                        f"{fmt.decimal(curve.best_score, 3)}."
                    )
        with right:
            self.section("How exact the overlap")
            plot(charts.ap_by_iou(shape, palette()), "Average precision by overlap")
            st.caption("AP when more overlap is asked of a cell that counts as found.")

    def _subsets_and_sources(self) -> None:
        left, right = st.columns(2, gap="large")
        with left:
            self.section("Size, clumps, edges", CSV="subsets")
            if self.found.subsets:
                self._subsets()
            else:
                st.caption("Not computed for this evaluation.")
        with right:
            self.section("By source", CSV="sources")
            points = [
                point
                for source, figures in self.found.sources.items()
                for point in charts.by_class(
                    figures.ap50, source, {k: f"{n} true" for k, n in figures.true.items()}
                )
            ]
            plot(charts.dots(points, "AP50, boxes", palette()), "AP50 by source and class")
            st.html(tables.source_table(self.found))

    def _subsets(self) -> None:
        figure = st.segmented_control(
            "Figure",
            list(SUBSET_FIGURES),
            format_func=SUBSET_FIGURES.__getitem__,
            default="recall",
            required=True,
            key=f"subset-{self.key}",
            label_visibility="collapsed",
        )
        points = [
            charts.Point(
                s.name.capitalize(), s.cls, getattr(s, figure), f"{tables.subset_name(s)} · {s.true} true"
            )
            for s in self.found.subsets
            if s.cls != ALL
        ]
        plot(charts.dots(points, SUBSET_FIGURES[figure], palette()), "Figures by size, clumps and edges")
        st.caption(
            "Small, medium, large: thirds of the true cells of a class by area. Touching: another cell lies "
            "against it. Cut: by the image’s edge."
        )

    def _pick(self, title: str, options: Iterable[str], key: str) -> str | None:
        """Choice of a class, all together first; None of nothing, said so."""
        known = sorted(options, key=lambda k: (k != ALL, [*self.found.classes, k].index(k)))
        if not known:
            st.caption("Nothing to show: no class is completely labelled in this ground truth.")
            return None
        if len(known) == 1:
            return known[0]
        return str(
            st.segmented_control(
                title,
                known,
                format_func=lambda k: "All" if k == ALL else label(k),
                default=known[0],
                required=True,
                key=f"{key}-{self.key}",
                label_visibility="collapsed",
            )
        )

    def _manifest(self) -> None:
        with st.expander("Manifest: how these figures came about", icon=":material/receipt_long:"):
            raw = self.found.to_json()
            st.json({k: raw[k] for k in ("manifest", "mapping", "loss", "loss_note")}, expanded=2)

    def downloads(self) -> None:
        """Everything as JSON, and all tables in one archive."""
        st.download_button(
            "JSON",
            lambda: json.dumps(self.found.to_json(), indent=1),
            file_name=f"evaluation-{self.key}.json",
            mime="application/json",
            icon=":material/download:",
            on_click="ignore",
            key=f"json-{self.key}",
            help="All figures, curves and settings",
        )
        st.download_button(
            "CSV",
            self._archive,
            file_name=f"evaluation-{self.key}.zip",
            mime="application/zip",
            icon=":material/download:",
            on_click="ignore",
            key=f"zip-{self.key}",
            help="All tables, one file each",
        )

    def _archive(self) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("README.txt", f"{RESEARCH_USE}\n{about(self.found)}\n")
            for name, table in self.files.items():
                archive.writestr(f"{name}.csv", csv_bytes(table, self.found))
        return out.getvalue()


def about(found: Evaluation) -> str:
    """One line: how much was judged, with what."""
    images = len(found.images)
    cells = sum(n for row in found.images for n in row.true.values() if n is not None)
    parts = [
        f"{fmt.count(images)} image" + ("s" if images != 1 else ""),
        f"{fmt.count(cells)} true cells",
        f"confidence from {found.manifest.settings.get('min_score', fmt.NONE)}",
        fmt.duration(found.manifest.seconds),
    ]
    if found.manifest.device:
        parts.append(found.manifest.device)
    return " · ".join(parts)


def plot(fig: Any, alt: str) -> None:
    """A chart as all charts here are shown."""
    st.plotly_chart(fig, theme=None, config=PLOT_CONFIG, alt=alt)
