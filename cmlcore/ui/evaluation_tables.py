"""Tables of an evaluation, and of two side by side: from stored figures to HTML. Pure; no streamlit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cmlcore.evaluation.result import ALL, ClassFigures, Estimate, Evaluation, ShapeFigures, Subset
from cmlcore.ui import format as fmt
from cmlcore.ui import widgets
from cmlcore.ui.evaluation_charts import name

SHAPES = {"box": "Boxes", "mask": "Outlines"}
PLACES = 3
FIGURES = {
    "ap50": "AP50",
    "ap": "AP50:95",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "iou": "IoU",
    "pq": "PQ",
    "sq": "SQ",
    "dq": "DQ",
}
"""Figures of a class in the order of the table: attribute and title."""
COUNT_ERROR = "Count error"


@dataclass(frozen=True, slots=True)
class Headline:
    """One of the large figures on top."""

    title: str
    at: Estimate
    help: str


def headlines(found: Evaluation) -> list[Headline]:
    """The figures to read first; those that were not measured are left out."""
    box, mask = found.shapes.get("box"), found.shapes.get("mask")
    main = mask or box
    lines = []
    if box is not None:
        lines.append(Headline("mAP50, boxes", box.map50, "Mean over the classes of AP at IoU 0.5"))
    if mask is not None:
        lines.append(Headline("mAP50, outlines", mask.map50, "The same by the pixels of the outlines"))
    if main is not None:
        of = "outlines" if mask else "boxes"
        lines.append(Headline("mAP50:95", main.map, f"Mean over IoU 0.50 to 0.95, by {of}"))
        if ALL in main.classes:
            lines.append(Headline("F1", main.classes[ALL].f1, f"Of all cells at the threshold, by {of}"))
            lines.append(Headline("PQ", main.classes[ALL].pq, f"Panoptic quality of all cells, by {of}"))
    if ALL in found.calibration:
        lines.append(
            Headline("ECE", found.calibration[ALL].error, "Expected calibration error of the confidence")
        )
    if found.loss is not None and isinstance(found.loss.get("loss"), int | float):
        lines.append(Headline("Loss", Estimate(float(found.loss["loss"])), found.loss_note))
    return [x for x in lines if x.at.value is not None]


def headlines_html(lines: Sequence[Headline]) -> str:
    """The large figures in one line, their intervals below."""
    cells = "".join(
        f'<div title="{widgets.text(x.help)}"><span>{widgets.text(x.title)}</span>'
        f"<b>{fmt.decimal(x.at.value, PLACES)}</b><small>{interval(x.at) or '&nbsp;'}</small></div>"
        for x in lines
    )
    return f'<div class="cmlp-figures">{cells}</div>'


def interval(at: Estimate, places: int = 2) -> str:
    """The interval alone; empty without one."""
    if at.low is None or at.high is None:
        return ""
    return f"{fmt.decimal(at.low, places)}–{fmt.decimal(at.high, places)}"


def figure_html(at: Estimate, places: int = PLACES) -> str:
    """A figure, and its interval in small letters below."""
    ends = interval(at)
    return fmt.decimal(at.value, places) + (f"<small>{ends}</small>" if ends else "")


def class_table(found: Evaluation, shape: ShapeFigures) -> str:
    """HTML: a row a class, all classes last."""
    keys = [k for k in found.classes if k in shape.classes] + [ALL] * (ALL in shape.classes)
    rows = [[_class(k), *_class_cells(shape.classes[k]), _bias(found, k)] for k in keys]
    table = widgets.table_html(
        ["Class", "True", "Found", *FIGURES.values(), "Count bias"], rows, total=ALL in keys
    )
    return scrolled(table)


def _class_cells(figures: ClassFigures) -> list[str]:
    return [
        fmt.count(figures.true),
        fmt.count(figures.found),
        *(figure_html(getattr(figures, key)) for key in FIGURES),
    ]


def _bias(found: Evaluation, key: str) -> str:
    error = found.counts.get(key)
    if error is None or error.bias.value is None:
        return fmt.NONE
    ends = error.bias.low, error.bias.high
    span = "" if None in ends else f"<small>{fmt.signed(ends[0])} to {fmt.signed(ends[1])}</small>"
    return fmt.signed(error.bias.value) + span


def _class(key: str) -> str:
    return name(key) if key == ALL else widgets.chip(key)


def scrolled(html: str) -> str:
    """A dense table that scrolls inside its own frame where the page is too narrow for it."""
    return f'<div class="cmlp-scroll">{html}</div>'


def source_table(found: Evaluation) -> str:
    """HTML: a row a source."""
    keys = list(found.classes)
    rows = [
        [
            widgets.text(source),
            fmt.count(figures.images),
            figure_html(figures.map50),
            *(figure_html(figures.ap50.get(k, Estimate(None))) for k in keys),
        ]
        for source, figures in found.sources.items()
    ]
    head = ["Source", "Images", "mAP50", *(f"AP50 {name(k)}" for k in keys)]
    return scrolled(widgets.table_html(head, rows, total=False))


def subset_name(subset: Subset) -> str:
    """A subset in words, with its bounds."""
    text = subset.name.capitalize()
    if subset.low is None and subset.high is None:
        return text
    low, high = (None if x is None else fmt.significant(x, 2) for x in (subset.low, subset.high))
    if not subset.low:
        return f"{text}: below {high}\u202f{subset.unit}"
    return (
        f"{text}: from {low}\u202f{subset.unit}"
        if high is None
        else f"{text}: {low} to {high}\u202f{subset.unit}"
    )


# --- two evaluations ---------------------------------------------------------------------------------


def difference(a: Estimate, b: Estimate) -> Estimate:
    """Second less first, with an interval made of both (MOVER: Zou and Donner 2008,
    doi 10.1002/sim.3095).

    It takes the two as independent; where both saw the same images they rise and fall together, and the
    interval is wider than it need be.
    """
    if a.value is None or b.value is None:
        return Estimate(None)
    gap = b.value - a.value
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return Estimate(gap)
    return Estimate(
        gap,
        gap - math.hypot(b.value - b.low, a.high - a.value),
        gap + math.hypot(b.high - b.value, a.value - a.low),
    )


def clear(gap: Estimate) -> bool:
    """Whether a difference's interval leaves zero out."""
    return gap.low is not None and gap.high is not None and (gap.low > 0 or gap.high < 0)


def pair_figures(found: Evaluation, kind: str) -> dict[tuple[str, str], Estimate]:
    """Everything two evaluations can be compared by, judged by boxes or outlines: (row, class) → figure."""
    out: dict[tuple[str, str], Estimate] = {}
    shape = found.shapes.get(kind)
    if shape is not None:
        out["AP50", ALL], out["AP50:95", ALL] = shape.map50, shape.map
        for key in (k for k in (*found.classes, ALL) if k in shape.classes):
            for attribute in ("ap50", "ap", "precision", "recall", "f1", "pq"):
                out.setdefault((FIGURES[attribute], key), getattr(shape.classes[key], attribute))
    out |= {("ECE", key): calibration.error for key, calibration in found.calibration.items()}
    out |= {(COUNT_ERROR, key): error.absolute for key, error in found.counts.items()}
    return out


@dataclass(frozen=True, slots=True)
class Pair:
    """One figure of one class in two evaluations; ``gap`` is second less first."""

    row: str
    key: str
    a: Estimate
    b: Estimate
    gap: Estimate


def pairs(a: Evaluation, b: Evaluation, kind: str) -> list[Pair]:
    """All that both measured."""
    first, second = pair_figures(a, kind), pair_figures(b, kind)
    return [
        Pair(row, key, at, second[row, key], difference(at, second[row, key]))
        for (row, key), at in first.items()
        if (row, key) in second and at.value is not None and second[row, key].value is not None
    ]


def pair_table(found: Sequence[Pair], classes: Sequence[str]) -> str:
    """HTML: a row a figure, a column a class; a difference whose interval leaves zero out is bold."""
    by_place = {(p.row, p.key): p for p in found}
    keys = [k for k in (*classes, ALL) if any(p.key == k for p in found)]
    rows = [
        [widgets.text(row), *(_pair(by_place.get((row, k))) for k in keys)]
        for row in dict.fromkeys(p.row for p in found)
    ]
    return scrolled(widgets.table_html(["Figure", *(name(k) for k in keys)], rows, total=False))


def _pair(pair: Pair | None) -> str:
    if pair is None:
        return fmt.NONE
    places = 1 if pair.row == COUNT_ERROR else PLACES
    text = fmt.signed(pair.gap.value, places)
    ends = "" if pair.gap.low is None else f"{fmt.signed(pair.gap.low, 2)} to {fmt.signed(pair.gap.high, 2)}"
    values = f"{fmt.decimal(pair.a.value, places)} → {fmt.decimal(pair.b.value, places)}"
    return (f"<b>{text}</b>" if clear(pair.gap) else text) + f"<small>{ends}</small><small>{values}</small>"
