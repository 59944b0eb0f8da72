"""Curves of a training: pure functions from the lines of curves.jsonl to Plotly figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

from cmlcore.classes import color, label
from cmlcore.ui.theme import Palette, template

Event = dict[str, Any]

POINTS = 400  # a curve shows at most so many; more are averaged in groups
HEIGHT = 340
_NOT_LOSS = {
    "step",
    "epoch",
    "seconds",
    "split",
    "loss",
    "lr",
    "map50",
    "map",
    "ap50",
    "ap",
    "images",
    "norm",
    "threshold",
}
_DASHES = ("dot", "dash", "dashdot", "longdash", "longdashdot")


def of_split(events: Iterable[Event], split: str) -> list[Event]:
    """The events of one split, "train" or "val", in order."""
    return [e for e in events if e.get("split") == split]


def parts(events: Iterable[Event]) -> list[str]:
    """Names of the parts of the loss, in the order they come."""
    found = dict.fromkeys(k for e in events for k, v in e.items() if k not in _NOT_LOSS and _is_number(v))
    return list(found)


def series(events: Sequence[Event], name: str, points: int = POINTS) -> tuple[list[float], list[float]]:
    """Steps and values of one curve; beyond ``points``, means of groups of neighbours.

    Values that are not finite are left out: a gap in the curve is where they were.
    """
    pairs = [(float(e["step"]), float(e[name])) for e in events if _is_number(e.get(name))]
    group = math.ceil(len(pairs) / points)
    if group <= 1:
        return [x for x, _ in pairs], [y for _, y in pairs]
    chunks = [pairs[i : i + group] for i in range(0, len(pairs), group)]
    return [c[-1][0] for c in chunks], [sum(y for _, y in c) / len(c) for c in chunks]


def loss_curves(events: Sequence[Event], colors: Palette) -> go.Figure:
    """Loss over the steps: train and val in full, their parts at a click in the legend."""
    fig = _figure(colors, "loss")
    train, val = of_split(events, "train"), of_split(events, "val")
    _line(fig, *series(train, "loss"), "Train", {"color": colors.accent, "width": 2})
    _line(fig, *series(val, "loss"), "Val", {"color": _VAL[colors.dark], "width": 2}, marks=True)
    for i, name in enumerate(parts(train)):
        line = {"color": colors.muted, "width": 1.5, "dash": _DASHES[i % len(_DASHES)]}
        _line(fig, *series(train, name), f"Train: {_said(name)}", line, hidden=True)
    for i, name in enumerate(parts(val)):
        line = {"color": _VAL[colors.dark], "width": 1.5, "dash": _DASHES[i % len(_DASHES)]}
        _line(fig, *series(val, name), f"Val: {_said(name)}", line, hidden=True)
    fig.update_yaxes(title="Loss", rangemode="tozero")
    fig.update_layout(
        height=HEIGHT + 60, legend={"y": -0.2, "yanchor": "top", "title": {"text": ""}}
    )  # many parts: below the curves
    return fig


def map_curves(events: Sequence[Event], classes: Sequence[str], colors: Palette) -> go.Figure:
    """Precision on val over the steps: mAP50, mAP50:95, and AP50 of each class in its colour."""
    fig = _figure(colors, "map")
    val = of_split(events, "val")
    _line(fig, *series(val, "map50"), "mAP50", {"color": colors.text, "width": 2.5}, marks=True)
    _line(
        fig, *series(val, "map"), "mAP50:95", {"color": colors.text, "width": 2, "dash": "dash"}, marks=True
    )
    for key in classes:
        of_class = [{"step": e["step"], "ap": (e.get("ap50") or {}).get(key)} for e in val]
        _line(fig, *series(of_class, "ap"), label(key), {"color": color(key), "width": 1.5, "dash": "dot"},
              marks=True)  # fmt: skip
    fig.update_yaxes(title="Average precision on val", range=[0, 1.02])
    return fig


_VAL = {False: "#B4540A", True: "#F0A35E"}  # val stands out from the accent on either ground


def _figure(colors: Palette, name: str) -> go.Figure:
    layout = {"template": template(colors), "height": HEIGHT, "hovermode": "x unified", "uirevision": name}
    fig = go.Figure(layout=layout)
    fig.update_xaxes(title="Step", rangemode="tozero")
    return fig


def _line(
    fig: go.Figure,
    x: list[float],
    y: list[float],
    name: str,
    line: dict[str, Any],
    *,
    marks: bool = False,
    hidden: bool = False,
) -> None:
    if not x:
        return
    fig.add_scatter(
        x=x,
        y=y,
        name=name,
        mode="lines+markers" if marks else "lines",
        marker={"size": 5},
        line=line,
        visible="legendonly" if hidden else True,
        hovertemplate="%{y:.4g}",
    )


def _said(name: str) -> str:
    return name.removeprefix("loss_").replace("_", " ")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
