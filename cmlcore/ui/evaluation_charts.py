"""Charts of an evaluation: pure functions from the stored figures to Plotly figures.

Classes keep their colour, and lines differ by dash as well. Every interval is one of 95 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from cmlcore.classes import color, label
from cmlcore.evaluation.result import (
    ALL,
    IOUS,
    Calibration,
    Confusion,
    CountError,
    Estimate,
    ShapeFigures,
    ThresholdCurve,
)
from cmlcore.ui.charts import DASHES, faded, figure, mixed
from cmlcore.ui.format import count, decimal, percent, signed
from cmlcore.ui.theme import Palette, below_buttons, template

NOTHING = {"missed": "Missed", "invented": "Invented"}
_SHARE_AXIS = {"range": [-0.02, 1.02], "tickformat": ".1f", "constrain": "domain"}


def name(key: str) -> str:
    """A class, or what stands in its place: all of them, none of them."""
    return "All classes" if key == ALL else NOTHING.get(key) or label(key)


def hue(key: str, colors: Palette) -> str:
    """Colour of a class; the house's own for all together, grey for nothing."""
    return colors.accent if key == ALL else colors.muted if key in NOTHING else color(key)


def confusion_map(confusion: Confusion, colors: Palette) -> go.Figure:
    """Heat map of true class (rows) by found class (columns): shade and per cent by row, and the count.

    The corner of "invented" and "missed" does not exist and stays empty.
    """
    shares, notes = [], []
    marks: list[tuple[str, str, str, str]] = []  # column, row, text, colour
    for row, counts in zip(confusion.rows, confusion.counts, strict=True):
        total = sum(counts)
        line = _by(row, confusion, counts)
        shares.append([None if n is None else n / total if total else 0.0 for _, n in line])
        notes.append(["" if n is None else f"{_meaning(row, c)}: {count(n)}" for c, n in line])
        for column, n in line:
            if n is not None:
                share = n / total if total else None
                ink = colors.background if (share or 0.0) > 0.45 else colors.text
                marks.append((name(column), name(row), f"<b>{count(n)}</b><br>{percent(share)}", ink))
    fig = figure(colors, 96 + 72 * len(confusion.rows), margin={"l": 8, "r": 8, "t": 8, "b": 8})
    fig.add_heatmap(
        z=shares,
        x=[name(c) for c in confusion.columns],
        y=[name(r) for r in confusion.rows],
        customdata=notes,
        hovertemplate="%{customdata}<br>%{z:.1%} of the row<extra></extra>",
        hoverongaps=False,
        zmin=0,
        zmax=1,
        xgap=3,
        ygap=3,
        showscale=False,
        colorscale=[
            [0.0, colors.surface],
            [0.05, mixed(colors.surface, colors.accent, 0.18)],
            [1.0, colors.accent],
        ],
    )
    x, y, texts, inks = zip(*marks, strict=True)
    fig.add_scatter(
        x=x, y=y, text=texts, mode="text", textfont={"color": inks, "size": 13}, hoverinfo="skip",
        showlegend=False,
    )  # fmt: skip
    names = {"showgrid": False, "ticks": "", "tickfont": {"size": 13, "color": colors.text}}
    fig.update_xaxes(title=below_buttons("Found as"), side="top", **names)
    fig.update_yaxes(title="True class", autorange="reversed", ticklabelstandoff=6, **names)
    return fig


def _by(row: str, confusion: Confusion, counts: Sequence[int]) -> list[tuple[str, int | None]]:
    """Counts of a row by column; None for what is neither a true nor a found cell."""
    pairs = zip(confusion.columns, counts, strict=True)
    return [(c, None if row == "invented" and c == "missed" else n) for c, n in pairs]


def _meaning(row: str, column: str) -> str:
    if row == "invented":
        return f"Found as {name(column)} where no cell is"
    if column == "missed":
        return f"{name(row)}, not found"
    return f"{name(row)}, found as {name(column)}"


def pr_curves(shape: ShapeFigures, colors: Palette) -> go.Figure:
    """Precision over recall by class at IoU 0.5; a mark where the threshold in use lies."""
    fig = figure(colors, 380, hovermode="closest")
    for i, (key, curve) in enumerate(shape.curves.items()):
        last = next((j for j, s in enumerate(curve.score) if s is None), len(curve.score))
        fig.add_scatter(
            x=curve.recall[:last],
            y=curve.precision[:last],
            name=name(key),
            legendgroup=key,
            mode="lines",
            line={"color": hue(key, colors), "width": 2.5, "dash": DASHES[i % len(DASHES)]},
            customdata=curve.score[:last],
            hovertemplate=f"<b>{name(key)}</b><br>Recall %{{x:.2f}} · precision %{{y:.3f}}<br>"
            "Confidence from %{customdata:.3f}<extra></extra>",
        )
        at = shape.classes[key]
        if at.recall.value is not None and at.precision.value is not None:
            fig.add_scatter(
                x=[at.recall.value],
                y=[at.precision.value],
                legendgroup=key,
                showlegend=False,
                mode="markers",
                marker={
                    "size": 11,
                    "color": hue(key, colors),
                    "line": {"width": 2, "color": colors.background},
                },
                hovertemplate=f"<b>{name(key)}, threshold in use</b><br>"
                "Recall %{x:.3f} · precision %{y:.3f}<extra></extra>",
            )
    fig.update_xaxes(title="Recall", **_SHARE_AXIS)
    fig.update_yaxes(title="Precision", **_SHARE_AXIS)
    return fig


def threshold_curves(curve: ThresholdCurve, min_score: float | None, colors: Palette) -> go.Figure:
    """Precision, recall and F1 over the confidence from which cells count; the one in use is marked."""
    fig = figure(colors, 380, hovermode="x unified")
    lines = (
        ("Precision", curve.precision, colors.muted, "dash"),
        ("Recall", curve.recall, colors.muted, "dot"),
        ("F1", curve.f1, colors.accent, "solid"),
    )
    for title, values, line, dash in lines:
        fig.add_scatter(
            x=curve.score,
            y=values,
            name=title,
            mode="lines",
            line={"color": line, "width": 2.5 if title == "F1" else 2, "dash": dash},
            hovertemplate="%{y:.3f}",
        )
    if min_score is not None:
        fig.add_vline(
            x=min_score,
            line={"color": colors.text, "width": 1},
            annotation={"text": f"in use {decimal(min_score, 2)}", "font": {"color": colors.muted}},
        )
    if curve.best_score is not None and curve.best_f1 is not None:
        fig.add_scatter(
            x=[curve.best_score],
            y=[curve.best_f1],
            name="Best F1",
            mode="markers",
            marker={"size": 10, "color": colors.accent, "line": {"width": 2, "color": colors.background}},
            hovertemplate="%{y:.3f} from %{x:.3f}",
        )
    fig.update_xaxes(title="Least confidence", tickformat=".1f", range=[-0.02, 1.02], hoverformat=".2f")
    fig.update_yaxes(title="Share", **_SHARE_AXIS)
    return fig


def ap_by_iou(shape: ShapeFigures, colors: Palette) -> go.Figure:
    """Average precision over the overlap that counts as found, 0.50 to 0.95, by class."""
    fig = figure(colors, 380, hovermode="closest")
    for i, (key, figures) in enumerate(shape.classes.items()):
        if key == ALL or not any(v is not None for v in figures.ap_by_iou):
            continue
        fig.add_scatter(
            x=IOUS,
            y=figures.ap_by_iou,
            name=name(key),
            mode="lines+markers",
            line={"color": hue(key, colors), "width": 2.5, "dash": DASHES[i % len(DASHES)]},
            marker={"size": 6},
            hovertemplate=f"<b>{name(key)}</b><br>IoU from %{{x:.2f}}: AP %{{y:.3f}}<extra></extra>",
        )
    fig.update_xaxes(title="Least overlap (IoU)", tickformat=".2f", dtick=0.1, tick0=0.5)
    fig.update_yaxes(title="Average precision", **_SHARE_AXIS)
    return fig


def bland_altman(key: str, error: CountError, colors: Palette) -> go.Figure:
    """Difference of found and true cells over their mean, a point an image; bias and 95 % limits."""
    fig = figure(colors, 380, hovermode="closest", showlegend=False)
    means = [(t + f) / 2 for _, t, f in error.points]
    fig.add_scatter(
        x=means,
        y=[f - t for _, t, f in error.points],
        mode="markers",
        marker={
            "size": 9,
            "color": faded(hue(key, colors), 0.55),
            "line": {"width": 1, "color": hue(key, colors)},
        },
        customdata=error.points,
        hovertemplate="Image %{customdata[0]}<br>True %{customdata[1]} · found %{customdata[2]}<br>"
        "Difference %{y:+d}<extra></extra>",
    )
    lines = (
        ("Bias", error.bias, "solid"),
        ("+1.96 SD", error.upper, "dash"),
        ("−1.96 SD", error.lower, "dash"),
    )
    for title, at, dash in lines:
        if at.value is None:
            continue
        if at.low is not None and at.high is not None:
            fig.add_hrect(y0=at.low, y1=at.high, fillcolor=faded(colors.accent, 0.1), line_width=0)
        fig.add_hline(
            y=at.value,
            line={"color": colors.accent, "width": 1.5, "dash": dash},
            annotation={
                "text": f"{title} {signed(at.value, 1)}",
                "font": {"color": colors.muted, "size": 12},
                "xanchor": "right",
                "yanchor": "bottom",
            },
            annotation_position="top right",
        )
    fig.update_xaxes(title=f"Mean of true and found cells per image: {name(key)}", rangemode="tozero")
    fig.update_yaxes(title="Found less true", zeroline=True, zerolinecolor=colors.line)
    return fig


def reliability(key: str, found: Calibration, min_score: float | None, colors: Palette) -> go.Figure:
    """Share of cells that are right over their confidence, and below it how many cells that rests on."""
    fig = make_subplots(2, 1, shared_xaxes=True, row_heights=[0.76, 0.24], vertical_spacing=0.05)
    fig.update_layout(template=template(colors), height=420, showlegend=False, hovermode="closest", bargap=0)
    bins = found.bins
    rest = [(b.low, b.high, b.cells) for b in bins]
    fig.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": colors.muted, "width": 1, "dash": "dot"},
        hoverinfo="skip", row=1, col=1,
    )  # fmt: skip
    fig.add_scatter(
        x=[b.score for b in bins],
        y=[b.right for b in bins],
        mode="lines+markers",
        line={"color": hue(key, colors), "width": 2.5},
        marker={"size": 9, "line": {"width": 2, "color": colors.background}},
        customdata=rest,
        hovertemplate="Confidence %{x:.3f} (%{customdata[0]:.2f} to %{customdata[1]:.2f})<br>"
        "<b>%{y:.1%} right</b> of %{customdata[2]:,} cells<extra></extra>",
        row=1,
        col=1,
    )
    fig.add_bar(
        x=[(b.low + b.high) / 2 for b in bins],
        y=[b.cells for b in bins],
        width=[max(b.high - b.low, 0.004) for b in bins],
        marker={"color": faded(hue(key, colors), 0.45), "line": {"width": 1, "color": colors.background}},
        customdata=rest,
        hovertemplate="%{customdata[0]:.2f} to %{customdata[1]:.2f}<br>%{y:,} cells<extra></extra>",
        row=2,
        col=1,
    )
    if min_score is not None:
        fig.add_vline(x=min_score, line={"color": colors.text, "width": 1})
    fig.update_xaxes(range=[-0.02, 1.02], tickformat=".1f")
    fig.update_xaxes(title="Confidence", row=2, col=1)
    fig.update_yaxes(title="Share that is right", range=[-0.02, 1.02], tickformat=".1f", row=1, col=1)
    fig.update_yaxes(title="Cells", rangemode="tozero", nticks=3, row=2, col=1)
    return fig


def calibration_map(curves: Mapping[str, tuple[list[float], list[float]]], colors: Palette) -> go.Figure:
    """From the network's score to the confidence that is shown, by class; the dotted line changes nothing."""
    fig = figure(colors, 300, hovermode="closest")
    fig.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": colors.muted, "width": 1, "dash": "dot"},
        hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    for i, (key, (x, y)) in enumerate(curves.items()):
        fig.add_scatter(
            x=x,
            y=y,
            name=name(key),
            mode="lines",
            line={"color": hue(key, colors), "width": 2.5, "dash": DASHES[i % len(DASHES)]},
            hovertemplate=f"<b>{name(key)}</b><br>Score %{{x:.3f}}: confidence %{{y:.3f}}<extra></extra>",
        )
    fig.update_xaxes(title="Score of the network", **_SHARE_AXIS)
    fig.update_yaxes(title="Confidence", **_SHARE_AXIS)
    return fig


@dataclass(frozen=True, slots=True)
class Point:
    """One line of a dot plot: where it stands, what it is, how much it is."""

    row: str
    key: str
    at: Estimate
    note: str = ""


def dots(points: Sequence[Point], axis: str, colors: Palette, *, differences: bool = False) -> go.Figure:
    """Figures with their intervals, a row each; classes of one row lie close together, each in its colour.

    Args:
        points: those without a value are left out.
        axis: title of the axis.
        colors: palette of the page.
        differences: the axis has its zero in the middle, instead of going from 0 to 1.

    """
    known = [p for p in points if p.at.value is not None]
    rows, keys = list(dict.fromkeys(p.row for p in known)), list(dict.fromkeys(p.key for p in known))
    per_row = 20 + 16 * len(keys)
    fig = figure(colors, max(180, 90 + per_row * len(rows)), hovermode="closest", showlegend=len(keys) > 1)
    inside = {row: [k for k in keys if any(p.row == row and p.key == k for p in known)] for row in rows}
    for i, key in enumerate(keys):
        mine = [p for p in known if p.key == key]
        fig.add_scatter(
            x=[p.at.value for p in mine],
            y=[rows.index(p.row) + _shift(inside[p.row].index(key), len(inside[p.row])) for p in mine],
            name=name(key),
            mode="markers",
            marker={"size": 9, "color": hue(key, colors), "symbol": ("circle", "square", "diamond")[i % 3]},
            error_x=_whiskers(mine, hue(key, colors)),
            customdata=[(p.row, _span(p.at, differences), p.note) for p in mine],
            hovertemplate="<b>%{customdata[0]}</b> · " + name(key) + "<br>%{customdata[1]}<br>"
            "%{customdata[2]}<extra></extra>",
        )
    fig.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=rows,
        range=[len(rows) - 0.45, -0.55],
        showgrid=False,
        zeroline=False,
        ticks="",
        tickfont={"size": 13, "color": colors.text},
        ticklabelstandoff=8,
    )
    fig.update_xaxes(title=axis)
    if differences:
        fig.add_vline(x=0, line={"color": colors.muted, "width": 1})
        reach = max(
            [0.01, *(abs(x) for p in known for x in (p.at.value, p.at.low, p.at.high) if x is not None)]
        )
        fig.update_xaxes(range=[-1.1 * reach, 1.1 * reach], tickformat=".2~f", zeroline=False)
    else:
        fig.update_xaxes(range=[-0.02, 1.02], tickformat=".1f")
    return fig


def _shift(place: int, of: int) -> float:
    """How far below its row's line a class lies, so that classes of one row do not cover each other."""
    return 0.18 * (place - (of - 1) / 2)


def _whiskers(points: Sequence[Point], line: str) -> dict[str, Any]:
    """Error bars of Plotly; a point without an interval has none."""

    def arm(p: Point, end: float | None) -> float:
        return abs(end - p.at.value) if end is not None and p.at.value is not None else 0.0

    return {
        "type": "data",
        "symmetric": False,
        "array": [arm(p, p.at.high) for p in points],
        "arrayminus": [arm(p, p.at.low) for p in points],
        "color": line,
        "thickness": 1.5,
        "width": 4,
    }


def _span(at: Estimate, differences: bool) -> str:
    write = signed if differences else decimal
    ends = "" if at.low is None or at.high is None else f" ({write(at.low, 3)} to {write(at.high, 3)})"
    return write(at.value, 3) + ends


def by_class(values: Mapping[str, Estimate], row: str, notes: Mapping[str, str] | None = None) -> list[Point]:
    """The points of one row, a class each."""
    return [Point(row, key, at, (notes or {}).get(key, "")) for key, at in values.items()]
