"""How good a model is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from cmlcore.cli.common import Device, Json, Model, bar, write
from cmlcore.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(evaluate)


def evaluate(
    data: Annotated[Path, typer.Option(help="Folder with one sub-folder a labelled set.")],
    model: Model = "type2",
    sets: Annotated[list[str] | None, typer.Option(help="A set; may be given several times.")] = None,
    split: Annotated[str, typer.Option(help="val or train.")] = "val",
    mpp: Annotated[str, typer.Option(help="known, or auto: estimated from the cells.")] = "known",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many images a set.")] = None,
    device: Device = "auto",
    json_file: Json = None,
) -> None:
    """Judge a model on labelled images."""
    if mpp not in ("known", "auto"):
        raise InputError(f"“{mpp}” is no pixel size for labelled sets; choose known or auto.")
    scale: Literal["known", "auto"] = "auto" if mpp == "auto" else "known"
    from rich import print as show

    from cmlcore.evaluation import evaluate as judge

    with bar() as bars:
        task = bars.add_task("Images", total=None)
        report = judge(
            model,
            data,
            sets,
            split,
            device,
            limit,
            scale,
            lambda done, total: bars.update(task, completed=done, total=total),
        )
    show(report.table())
    if json_file is not None:
        write(json_file, [json.dumps(report.to_json(), indent=2).encode()])
