"""Figures A (loss) and B (mAP) of the paper's comparison, as Plotly, and the page that holds them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from cmlcore import RESEARCH_USE
from cmlcore.classes import label
from cmlcore.report.paper import (
    CURVES_HEADER,
    FIGURES_HEADER,
    SETTINGS_HEADER,
    TASKS,
    TYPES,
    Axis,
    Slot,
    Training,
    at,
    csv_text,
    curve_rows,
    figure_row,
    full_title,
    has_phantoms,
    note,
    phantom_word,
    setting_rows,
    short_type,
    to_json,
    train_loss,
)

_AXES: dict[str, str] = {"epoch": "Epoch", "step": "Step", "minutes": "Minutes of training"}
_PAGE_STYLE = (
    "body{font:15px/1.5 'Source Sans 3','Source Sans Pro',Helvetica,Arial,sans-serif;color:#1A2730;"
    "max-width:1200px;margin:2rem auto;padding:0 1.5rem}h2{font-size:1.1rem;margin-top:2rem}"
    "table{border-collapse:collapse;font-size:.9rem}th,td{padding:.3rem .7rem;text-align:left;"
    "border-bottom:1px solid #D9E0E5}th,.note{color:#5C6B75;font-weight:400}"
)
MARKED = 12
"""A curve of no more points than this shows each: two that lie close would not be seen as a line."""
_PANEL = {"xanchor": "left", "yanchor": "bottom", "showarrow": False}


@dataclass(frozen=True, slots=True)
class Look:
    """Colours of a figure; the defaults are those of a printed page."""

    template: go.layout.Template | str = "simple_white"
    text: str = "#1A2730"
    muted: str = "#5C6B75"
    line: str = "#D9E0E5"
    type1: str = "#E69F00"
    type2: str = "#1F5F73"

    def of(self, kind: str) -> str:
        """Colour of a type, the same in every figure."""
        return self.type1 if kind == "type1" else self.type2


def comparison(
    chosen: Mapping[Slot, Training],
    task: str,
    axis: Axis = "epoch",
    look: Look | None = None,
    named: bool = True,
) -> go.Figure:
    """Loss (A) and mAP (B) of one task side by side; train dashed, val solid, a colour a type.

    mAP is of ``val``, by the boxes of the outlines: mAP50 solid, mAP50:95 dotted. One entry of the legend
    shows and hides a type's curves of one kind in both panels. The panels' titles name the task, unless
    ``named`` is false because a heading does; that the cells are phantoms they say in any case.
    """
    look = look or Look()
    fig = make_subplots(1, 2, horizontal_spacing=0.09)
    fig.update_layout(
        template=look.template,
        height=430,
        hovermode="closest",
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        legend={"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"},
    )
    for kind in TYPES:
        if (task, kind) in chosen:
            _draw(fig, kind, chosen[task, kind], axis, look)
    subject = f": {full_title(chosen, task)}" if named else phantom_word(has_phantoms(chosen, task))
    for col, letter, what in ((1, "A", "Loss"), (2, "B", "mAP")):
        panel = fig.get_subplot(1, col)
        fig.add_annotation(
            text=f"<b>{letter}</b>  {what}{subject}",
            x=panel.xaxis.domain[0],
            y=1,
            yshift=8,
            xref="paper",
            yref="paper",
            font={"size": 13, "color": look.text},
            **_PANEL,
        )
    fig.update_xaxes(title=_AXES[axis], rangemode="tozero")
    fig.update_yaxes(title="Loss", rangemode="tozero", col=1)
    fig.update_yaxes(title="mAP on val", range=[-0.02, 1.02], tickformat=".1f", col=2)
    for update in (fig.update_xaxes, fig.update_yaxes):
        update(showgrid=True, gridcolor=look.line, title_font={"size": 12, "color": look.muted})
    return fig


def _draw(fig: go.Figure, kind: str, training: Training, axis: Axis, look: Look) -> None:
    x, means, each = train_loss(training, axis)
    val = training.val
    places = [at(e, axis) for e in val]
    word, short = phantom_word(training.phantom), short_type(kind)
    many = f"mean of {each} events" if each > 1 else "one event"
    for col, name, xs, ys, dash, hover in (
        (1, "train", x, means, "dash", f"Train loss %{{y:.4g}}, {many}"),
        (1, "val", places, [e.get("loss") for e in val], "solid", "Val loss %{y:.4g}"),
        (2, "val", places, [e.get("map50") for e in val], "solid", "mAP50 %{y:.3f}"),
        (2, "val, mAP50:95", places, [e.get("map") for e in val], "dot", "mAP50:95 %{y:.3f}"),
    ):
        if not any(y is not None for y in ys):
            continue
        title = f"<b>{TYPES[kind]}{word}</b><br>{_AXES[axis]} %{{x:.4~g}}"
        fig.add_scatter(
            x=xs,
            y=ys,
            name=f"{short}, {name}{word}",
            legendgroup=f"{kind} {name}",
            showlegend=not (col == 2 and name == "val"),
            mode="lines" if len(xs) > MARKED else "lines+markers",
            line={"color": look.of(kind), "width": 2.5 if dash == "solid" else 1.75, "dash": dash},
            marker={"color": look.of(kind), "size": 7},
            hovertemplate=f"{title}<br>{hover}<extra></extra>",
            row=1,
            col=col,
        )


def figure_table(chosen: Mapping[Slot, Training]) -> tuple[list[str], list[list[str]]]:
    """Titles and texts of the table of final figures, a row a training."""
    head = [
        "Task",
        "Images",
        "Network",
        "Best mAP50",
        "mAP50:95 there",
        "AP50 by class",
        "Val loss",
        "Epochs",
        "Time",
    ]
    rows = []
    for slot, training in chosen.items():
        f = dict(zip(FIGURES_HEADER, figure_row(slot, training), strict=True))
        by_class = ", ".join(f"{label(k)} {_number(v)}" for k, v in f["ap50_by_class"].items())
        rows.append(
            [
                full_title(chosen, slot[0]),
                f["images"],
                TYPES[slot[1]],
                _number(f["best_map50"]),
                _number(f["map_at_best"]),
                by_class or "–",
                _number(f["last_val_loss"]),
                _number(f["epochs"], 1),
                f"{f['minutes']:.0f}\u202fmin",
            ]
        )
    return head, rows


def setting_table(chosen: Mapping[Slot, Training]) -> tuple[list[str], list[list[str]]]:
    """Titles and texts of the table of settings that differ."""
    head = ["Task", "Images", "Setting", "As published", *map(short_type, TYPES)]
    rows = [
        [full_title(chosen, task), images, name.replace("_", " "), *(_text(v) for v in values)]
        for task, images, name, *values in setting_rows(chosen)
    ]
    return head, rows


def _number(x: Any, places: int = 3) -> str:
    return f"{x:.{places}f}" if isinstance(x, int | float) else "–"


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


def html_page(chosen: Mapping[Slot, Training], axis: Axis = "epoch") -> str:
    """One self-contained HTML file: figures, tables, notes; it opens without a network."""
    figures = "".join(
        f"<h2>{escape(full_title(chosen, task))}</h2>"
        + comparison(chosen, task, axis).to_html(
            include_plotlyjs=first, full_html=False, config={"displaylogo": False}
        )
        for task, first in _with_first(tasks_of(chosen))
    )
    tables = "".join(
        f"<h2>{title}</h2><table><tr>{''.join(f'<th>{escape(h)}</th>' for h in head)}</tr>"
        + "".join(f"<tr>{''.join(f'<td>{escape(c)}</td>' for c in row)}</tr>" for row in rows)
        + "</table>"
        for title, (head, rows) in (
            ("Final figures", figure_table(chosen)),
            ("Settings that differ", setting_table(chosen)),
        )
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>CMLscope: comparison</title>'
        f"<style>{_PAGE_STYLE}</style></head><body><h1>Two networks, two tasks</h1>"
        f'<p class="note">{escape(RESEARCH_USE)} {escape(note(chosen))}</p>{figures}{tables}</body></html>\n'
    )


def tasks_of(chosen: Mapping[Slot, Training]) -> list[str]:
    """The tasks that have a training, in their order."""
    return [t for t in TASKS if any((t, k) in chosen for k in TYPES)]


def _with_first(items: list[str]) -> list[tuple[str, bool]]:
    return [(item, i == 0) for i, item in enumerate(items)]


def files(chosen: Mapping[Slot, Training], axis: Axis = "epoch") -> Iterator[tuple[str, bytes]]:
    """Name and content of every file of the comparison, as page and shell give it away."""
    yield "paper.html", html_page(chosen, axis).encode()
    yield "paper.json", json.dumps(to_json(chosen), indent=1).encode()
    figures = [figure_row(slot, t) for slot, t in chosen.items()]
    yield "paper_figures.csv", csv_text(FIGURES_HEADER, figures).encode()
    yield "paper_curves.csv", csv_text(CURVES_HEADER, curve_rows(chosen)).encode()
    yield "paper_settings.csv", csv_text(SETTINGS_HEADER, setting_rows(chosen)).encode()
