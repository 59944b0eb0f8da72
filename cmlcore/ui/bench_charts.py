"""Charts of a bench: pure functions from ``bench.json`` to Plotly figures. Intervals are of 95 %."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from cmlcore.classes import color, label
from cmlcore.single_cell.bench_table import TUNINGS, beside, ends
from cmlcore.single_cell.spaces import SPACES, TITLES
from cmlcore.ui.bench_tables import Row
from cmlcore.ui.charts import DASHES, figure, mixed
from cmlcore.ui.format import count, decimal, percent
from cmlcore.ui.theme import Palette, below_buttons

_SHARE = {"range": [-0.02, 1.02], "tickformat": ".1f", "constrain": "domain"}
_HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C8C8C")  # Okabe-Ito, a colour space each
_SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up")


def comparison(rows: list[Row], key: str, title: str, colors: Palette) -> go.Figure:
    """One figure of every row: a line a backbone and way, a mark a colour space, whiskers the interval."""
    names = list(dict.fromkeys(_who(r) for r in rows))
    spaces = [s for s in SPACES if any(r["colours"] == s for r in rows)]
    fig = figure(colors, 110 + len(names) * (22 + 16 * len(spaces)), hovermode="closest")
    for i, space in enumerate(spaces):
        at = SPACES.index(space)
        mine = [r for r in rows if r["colours"] == space]
        told = [r["pooled"]["figures"][key] for r in mine]
        shift = 0.2 * (i - (len(spaces) - 1) / 2)
        fig.add_scatter(
            x=[f["value"] for f in told],
            y=[names.index(_who(r)) + shift for r in mine],
            name=TITLES[space],
            mode="markers",
            marker={"size": 10, "color": _HUES[at], "symbol": _SYMBOLS[at]},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [_arm(f, "high") for f in told],
                "arrayminus": [_arm(f, "low") for f in told],
                "color": _HUES[at],
                "thickness": 1.5,
                "width": 4,
            },
            customdata=[(_who(r).replace("<br>", ", "), _folds(r, key)) for r in mine],
            hovertemplate="<b>%{customdata[0]}</b><br>" + TITLES[space] + "<br>%{x:.3f}, "
            "%{customdata[1]}<extra></extra>",
        )
    fig.update_yaxes(
        tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.45, -0.55], showgrid=False,
        zeroline=False, ticks="", tickfont={"size": 13, "color": colors.text}, ticklabelstandoff=8,
    )  # fmt: skip
    fig.update_xaxes(title=title, tickformat=".2~f")
    return fig


def contrasts(found: list[dict[str, Any]], colors: Palette) -> go.Figure:
    """Pairs of rows that differ in one thing: a mark how much more is called right, whiskers the interval.

    Filled and coloured where the interval leaves zero out.
    """
    names: list[tuple[float, str]] = []
    lines: list[tuple[float, dict[str, Any]]] = []
    heading, at = None, -0.5
    for c in found:
        before, after = ends(c)
        if heading != (heading := (before, after)):
            names.append((at + 0.5, f"<b>{after[:1].upper()}{after[1:]}</b> instead of {before}"))
            at += 1.5
        lines.append((at, c))
        names.append((at, beside(c)))
        at += 1
    fig = figure(colors, int(90 + 26 * at), hovermode="closest", showlegend=False)
    fig.add_vline(x=0, line={"color": colors.muted, "width": 1, "dash": "dot"})
    sure = [c["low"] > 0 or c["high"] < 0 for _, c in lines]
    inks = [colors.accent if s else colors.muted for s in sure]
    for (y, c), ink in zip(lines, inks, strict=True):
        fig.add_scatter(
            x=[c["low"], c["high"]], y=[y, y], mode="lines", line={"color": ink, "width": 2}, hoverinfo="skip"
        )
    fig.add_scatter(
        x=[c["difference"] for _, c in lines],
        y=[y for y, _ in lines],
        mode="markers",
        marker={
            "size": 9,
            "symbol": ["circle" if s else "circle-open" for s in sure],
            "color": inks,
            "line": {"width": 2, "color": inks},
        },
        customdata=[
            (f"{ends(c)[1]} instead of {ends(c)[0]}", beside(c), gain(c), count(c["images"]))
            for _, c in lines
        ],
        hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<br>%{customdata[2]}, "
        "%{customdata[3]} images<extra></extra>",
    )
    for y, c in lines:
        fig.add_annotation(
            x=1, xref="paper", xanchor="left", xshift=8, y=y, text=gain(c), showarrow=False,
            font={"size": 12, "color": colors.text},
        )  # fmt: skip
    fig.update_yaxes(
        tickvals=[y for y, _ in names], ticktext=[text for _, text in names], range=[at - 0.4, -0.6],
        showgrid=False, zeroline=False, ticks="", tickfont={"size": 12, "color": colors.text},
        ticklabelstandoff=8,
    )  # fmt: skip
    fig.update_xaxes(title="Accuracy gained", tickformat=".2~f", zeroline=False)
    fig.update_layout(margin={"r": 170})
    return fig


def gain(contrast: dict[str, Any]) -> str:
    """A difference with its sign and its interval."""
    value, low, high = (f"{contrast[k]:+.3f}".replace("-", "−") for k in ("difference", "low", "high"))
    return f"{value} ({low} to {high})"


def _who(row: Row) -> str:
    return f"{row['title']}<br>{TUNINGS[row['tuning']]}"


def _arm(figure_: dict[str, Any], end: str) -> float:
    value, at = figure_["value"], figure_[end]
    return abs(at - value) if at is not None and value is not None else 0.0


def _folds(row: Row, key: str) -> str:
    mean, deviation = row["summary"].get(key, (None, None))
    if len(row["folds"]) < 2:
        return "one split"
    return f"folds {decimal(mean, 3)} ± {decimal(deviation, 3)}"


def confusion(row: Row, colors: Palette) -> go.Figure:
    """True class (rows) by answer (columns): shade by the share of the row, and the count."""
    pooled = row["pooled"]
    names = [label(c) for c in pooled["classes"]]
    shares, texts, notes = [], [], []
    for true, line in zip(names, pooled["confusion"], strict=True):
        total = sum(line) or 1
        shares.append([n / total for n in line])
        texts.append([count(n) if n else "" for n in line])
        notes.append(
            [
                f"{true}, called {name}: {count(n)}, {percent(n / total)}"
                for name, n in zip(names, line, strict=True)
            ]
        )
    fig = figure(colors, 150 + 32 * len(names), margin={"l": 8, "r": 8, "t": 8, "b": 8})
    fig.add_heatmap(
        z=shares, x=names, y=names, text=texts, texttemplate="%{text}", customdata=notes,
        hovertemplate="%{customdata}<extra></extra>", zmin=0, zmax=1, xgap=2, ygap=2, showscale=False,
        colorscale=[
            [0.0, colors.surface],
            [0.02, mixed(colors.surface, colors.accent, 0.14)],
            [1.0, colors.accent],
        ],
    )  # fmt: skip
    quiet = {"showgrid": False, "ticks": "", "tickfont": {"size": 12, "color": colors.text}}
    fig.update_xaxes(title=below_buttons("Called"), side="top", tickangle=-40, **quiet)
    fig.update_yaxes(title="True class", autorange="reversed", ticklabelstandoff=6, **quiet)
    return fig


def roc(row: Row, colors: Palette) -> go.Figure:
    """ROC of each class against the rest."""
    auc = {line["cls"]: line["auc"] for line in row["pooled"]["lines"]}
    fig = _curves(row["pooled"]["roc"], auc, "AUC", colors)
    fig.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": colors.muted, "width": 1, "dash": "dot"},
        hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    fig.update_xaxes(title="False-positive rate (1 − specificity)", **_SHARE)
    fig.update_yaxes(title="Sensitivity", **_SHARE)
    return fig


def precision_recall(row: Row, colors: Palette) -> go.Figure:
    """Precision over sensitivity of each class against the rest."""
    f1 = {line["cls"]: line["f1"] for line in row["pooled"]["lines"]}
    fig = _curves(row["pooled"]["pr"], f1, "F1", colors)
    fig.update_xaxes(title="Sensitivity", **_SHARE)
    fig.update_yaxes(title="Precision", **_SHARE)
    return fig


def _curves(
    curves: list[dict[str, Any]], told: dict[str, float | None], what: str, colors: Palette
) -> go.Figure:
    fig = figure(colors, 420, hovermode="closest")
    for i, curve in enumerate(curves):
        name = label(curve["cls"])
        fig.add_scatter(
            x=curve["x"],
            y=curve["y"],
            name=name,
            mode="lines",
            line={"color": _ink(curve["cls"], colors), "width": 2, "dash": DASHES[i % len(DASHES)]},
            hovertemplate=f"<b>{name}</b>, {what} {decimal(told.get(curve['cls']), 3)}<br>"
            "%{x:.3f} · %{y:.3f}<extra></extra>",
        )
    fig.update_layout(legend={"font": {"size": 11}})
    return fig


def _ink(key: str, colors: Palette) -> str:
    """A class's colour, lightened where it would drown in the dark ground."""
    hue = color(key)
    r, g, b = (int(hue[i : i + 2], 16) for i in (1, 3, 5))
    luma = 0.2126 * r + 0.7152 * g + 0.0722 * b  # ITU-R BT.709
    return mixed(hue, colors.text, 0.5) if colors.dark and luma < 75 else hue
