"""Tables of a bench: from ``bench.json`` to HTML. No streamlit."""

from __future__ import annotations

from typing import Any

from cmlcore.single_cell.bench_table import TUNINGS
from cmlcore.single_cell.bench_table import costs as cost_table
from cmlcore.single_cell.spaces import SPACES, TITLES
from cmlcore.ui import format as fmt
from cmlcore.ui import widgets

FIGURES = {
    "accuracy": "Accuracy",
    "precision_macro": "Precision",
    "sensitivity_macro": "Sensitivity",
    "f1_macro": "F1, macro",
    "f1_weighted": "F1, weighted",
    "auc_weighted": "ROC AUC, weighted",
}
"""Columns of the table of results; precision and sensitivity are means over the classes."""
PLACES = 3
Row = dict[str, Any]


def row_key(row: Row) -> str:
    """What tells a row from the others, fit for a URL."""
    return f"{row['backbone']}.{row['tuning']}.{row['colours']}"


def row_title(row: Row) -> str:
    """Backbone, way and colours in one line."""
    return f"{row['title']} · {TUNINGS[row['tuning']]} · {TITLES.get(row['colours'], row['colours'])}"


def in_order(rows: list[Row]) -> list[Row]:
    """Rows backbone by backbone, each by what learnt and then by colours, so that like stands by like."""
    backbones = list(dict.fromkeys(r["backbone"] for r in rows))
    ways, spaces = list(TUNINGS), list(SPACES)
    return sorted(
        rows,
        key=lambda r: (
            backbones.index(r["backbone"]),
            ways.index(r["tuning"]),
            spaces.index(r["colours"]) if r["colours"] in spaces else len(spaces),
        ),
    )


def best_row(rows: list[Row], figure: str = "accuracy") -> Row:
    """The row whose mean over the folds is highest; there is at least one."""
    return max(rows, key=lambda r: mean_of(r, figure) or 0.0)


def mean_of(row: Row, figure: str) -> float | None:
    """Mean of a figure over the folds."""
    mean = row["summary"].get(figure, (None,))[0]
    return None if mean is None else float(mean)


def results_html(rows: list[Row]) -> str:
    """A line a combination: mean ± SD over folds, the interval over all test images; the best is bold."""
    best = {f: max((m for r in rows if (m := mean_of(r, f)) is not None), default=None) for f in FIGURES}
    head = "".join(f'<th scope="col">{t}</th>' for t in ("Backbone", "Tuned", "Colours", *FIGURES.values()))
    body, last = "", ("", "")
    for row in rows:
        who = (row["title"], TUNINGS[row["tuning"]])
        names = [
            widgets.text(n) if i > last_same(last, who) else ""
            for i, n in enumerate((*who, TITLES.get(row["colours"], row["colours"])))
        ]
        cells = "".join(f"<td>{_figure(row, f, best[f])}</td>" for f in FIGURES)
        first = ' class="cmlp-first"' if who != last else ""
        body += f'<tr{first}><th scope="row">{names[0]}</th>'
        body += f'<td class="cmlp-left">{names[1]}</td><td class="cmlp-left">{names[2]}</td>{cells}</tr>'
        last = who
    table = (
        f'<table class="cmlp-table cmlp-bench"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    )
    return f'<div class="cmlp-scroll">{table}</div>'


def last_same(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """Index of the last place up to which two tuples agree from the start; −1 where none does."""
    same = -1
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        if x != y:
            break
        same = i
    return same


def _figure(row: Row, figure: str, best: float | None) -> str:
    mean, deviation = row["summary"].get(figure, (None, None))
    pooled = row["pooled"]["figures"].get(figure, {})
    text = fmt.decimal(mean, PLACES)
    if mean is not None and best is not None and mean >= best:
        text = f"<b>{text}</b>"
    if deviation is not None and len(row["folds"]) > 1:
        text += f" ± {fmt.decimal(deviation, PLACES)}"
    return text + f"<small>{interval(pooled) or '&nbsp;'}</small>"


def interval(figure: dict[str, Any]) -> str:
    """A figure's interval; empty without one."""
    if figure.get("low") is None or figure.get("high") is None:
        return ""
    return f"{fmt.decimal(figure['low'], PLACES)} to {fmt.decimal(figure['high'], PLACES)}"


def headlines_html(row: Row) -> str:
    """The large figures of one row, over all its test images."""
    figures = row["pooled"]["figures"]
    cells = "".join(
        f"<div><span>{title}</span><b>{fmt.decimal(figures[key]['value'], PLACES)}</b>"
        f"<small>{interval(figures[key]) or '&nbsp;'}</small></div>"
        for key, title in FIGURES.items()
    )
    return f'<div class="cmlp-figures cmlp-figures-small">{cells}</div>'


def classes_html(row: Row) -> str:
    """A line a class, one against the rest."""
    keys = ("precision", "sensitivity", "specificity", "f1", "auc")
    lines = [
        [
            widgets.chip(line["cls"]),
            fmt.count(line["images"]),
            fmt.count(line["called"]),
            *(fmt.decimal(line[k], PLACES) for k in keys),
        ]
        for line in row["pooled"]["lines"]
    ]
    head = ["Class", "Images", "Called", "Precision", "Sensitivity", "Specificity", "F1", "ROC AUC"]
    return f'<div class="cmlp-scroll">{widgets.table_html(head, lines, total=False)}</div>'


def costs_html(bench: dict[str, Any]) -> str:
    """What each backbone costs."""
    _, header, rows = cost_table(bench)
    lines = [[widgets.text(str(r[0])), *(_number(v) for v in r[1:])] for r in rows]
    return f'<div class="cmlp-scroll">{widgets.table_html(header, lines, total=False)}</div>'


def _number(value: Any) -> str:
    if value is None:
        return fmt.NONE
    if isinstance(value, int):
        return fmt.count(value)
    return fmt.decimal(value, 2) if isinstance(value, float) else widgets.text(str(value))


def about(bench: dict[str, Any]) -> str:
    """One line: on which images, and how they were cut."""
    images, split = bench["set"], bench["split"]
    cut = {
        "folds": f"cross-validation, {split['folds']} folds",
        "holdout": "80 % to learn, 10 % to choose, 10 % to judge",
        "parts": "the set’s own parts",
    }[split["cut"]]
    parts = [f"{fmt.count(images['images'])} images of {len(images['classes'])} classes", cut]
    if images.get("mpp"):
        parts.append(f"{images['mpp']:.4g}\u202fµm per pixel")
    return " · ".join(parts)
