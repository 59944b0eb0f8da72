"""``cmlscope classify judge`` and ``abroad``: how good a classifier is, here and on other microscopes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cmlcore import RESEARCH_USE
from cmlcore.cli.classify_show import number, parts, scale_of, show_table, teller
from cmlcore.cli.common import Device, Json, bar, write

Model = Annotated[str, typer.Option("--model", help="Key of a classifier.")]


def judge(
    data: Annotated[Path, typer.Argument(help="Folder with one sub-folder a class.")],
    model: Model,
    part: Annotated[str, typer.Option(help="Only this part (train, val, test); empty: all.")] = "",
    mpp: Annotated[str, typer.Option("--mpp", help="µm per pixel; known: as the layout says.")] = "known",
    device: Device = "auto",
    json_file: Json = None,
) -> None:
    """Judge a classifier on labelled single-cell images."""
    from cmlcore.single_cell.classify import load
    from cmlcore.single_cell.data import load as load_set
    from cmlcore.single_cell.judge import judge_set

    cells = load_set(data)
    if part:
        cells = cells.part(part)
    classifier = load(model, device)
    scale = scale_of(mpp, cells, device)
    with bar() as bars:
        tell = teller(bars)
        found = judge_set(classifier, cells, scale, lambda d, t: tell("Reading images", d, t))
    header = ["Class", "Images", "Called", "Sensitivity", "Precision", "F1", "ROC AUC"]
    keys = ("sensitivity", "precision", "f1", "auc")
    lines = [[r["cls"], r["images"], r["called"], *(number(r[k]) for k in keys)] for r in found["lines"]]
    show_table(f"{found['images']} images", header, lines)
    for key in ("accuracy", "balanced_accuracy", "f1_macro", "auc_weighted"):
        value, low, high = (number(found["figures"][key][k]) for k in ("value", "low", "high"))
        print(f"{key:<18} {value:>7}  ({low} to {high})")
    print(f"{'called unknown':<18} {number(found['unknown_share']):>7}\n{RESEARCH_USE}")
    if json_file is not None:
        write(json_file, [json.dumps(found, indent=2, ensure_ascii=False).encode()])


def abroad(
    data: Annotated[Path, typer.Argument(help="Folder of the labelled sets (txl_pbc, krd_wbc, …).")],
    model: Model,
    part: Annotated[str, typer.Option(help="val or train.")] = "val",
    sources: Annotated[str, typer.Option(help="Only these microscopes, by comma; empty: all.")] = "",
    device: Device = "auto",
    json_file: Json = None,
) -> None:
    """Judge a classifier on leukocytes of other microscopes than the one that taught it."""
    from cmlcore.single_cell.abroad import judge_abroad
    from cmlcore.single_cell.classify import load

    classifier = load(model, device)
    with bar() as bars:
        tell = teller(bars)
        found = judge_abroad(
            classifier, data, part, parts(sources) or None, lambda d, t: tell("Leukocytes", d, t)
        )
    header = ["Microscope", "Cells", "Balanced accuracy", "… with any class as answer", "Called unknown"]
    keys = ("balanced_accuracy", "open_balanced_accuracy", "unknown_share")
    lines = [[name, r["images"], *(number(r[k]) for k in keys)] for name, r in found["sources"].items()]
    show_table(f"Five shared classes, {part}", header, lines)
    whole = found["whole"]["figures"]["balanced_accuracy"]
    value, low, high = (number(whole[k]) for k in ("value", "low", "high"))
    print(f"All: balanced accuracy {value} ({low} to {high}).\n{RESEARCH_USE}")
    if json_file is not None:
        write(json_file, [json.dumps(found, indent=2, ensure_ascii=False).encode()])
