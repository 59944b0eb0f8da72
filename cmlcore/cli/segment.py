"""Slides: their facts, and their cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmlcore import RESEARCH_USE
from cmlcore.cli.common import Device, Model, bar, write
from cmlcore.errors import InputError
from cmlcore.geometry import Mpp

if TYPE_CHECKING:
    from cmlcore.jobs import Progress


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(info)
    app.command()(segment)


def info(file: Annotated[Path, typer.Argument(help="A slide.")]) -> None:
    """Print the facts of a slide as JSON; nothing that identifies a person is among them."""
    from cmlcore.slides import probe
    from cmlcore.slides.facts import info_to_json

    print(json.dumps(info_to_json(probe(file)), indent=2, ensure_ascii=False))


def segment(
    slide: Annotated[Path, typer.Argument(help="A slide.")],
    out: Annotated[Path, typer.Option(help="Folder for cells.csv, cells.geojson, manifest.json and parts/.")],
    model: Model = "type2",
    scene: Annotated[int, typer.Option(min=1, help="Number of the scene, from 1.")] = 1,
    roi: Annotated[
        list[str] | None,
        typer.Option(help="x,y,w,h or x1,y1 x2,y2 x3,y3 … in level-0 pixels; may be given several times."),
    ] = None,
    mpp: Annotated[float | None, typer.Option(help="µm per pixel, where the slide does not say it.")] = None,
    min_score: Annotated[float | None, typer.Option(min=0, max=1, help="Leave out cells below.")] = None,
    device: Device = "auto",
) -> None:
    """Outline and name the cells of a slide; goes on where a broken-off call for the same folder stopped."""
    manifest = segmented(
        slide,
        model,
        out,
        scene=scene - 1,
        rois=[_polygon(r) for r in roi] if roi else None,
        settings=None if min_score is None else {"min_score": min_score},
        mpp=None if mpp is None else Mpp(mpp, mpp),
        device=device,
    )
    _export(manifest, out)
    _print_counts(out)


def segmented(slide: Path, model: str, out: Path, *, scene: int, **options: Any) -> dict[str, Any]:
    """``segment_local`` with a progress bar."""
    from cmlcore.jobs import segment_local

    with bar() as bars:
        task = bars.add_task("Starting", total=1.0)

        def tell(p: Progress) -> None:
            bars.update(task, completed=p.fraction, description=f"{p.stage_label}: {p.cells} cells")

        return segment_local(slide, model, out, scene=scene, progress=tell, **options)


def _export(manifest: dict[str, Any], out: Path) -> None:
    """The downloads of the results page, byte for byte."""
    from cmlcore.cells import CellTable
    from cmlcore.report import csv_stream, geojson_stream

    table = CellTable(out)
    write(out / "cells.csv", csv_stream(manifest, table))
    write(out / "cells.geojson", geojson_stream(manifest, table))


def _print_counts(out: Path) -> None:
    from cmlcore.cells import CellTable
    from cmlcore.classes import label

    for row in CellTable(out).counts():
        share = "" if row.percent is None else f"{row.percent:>6.1f} %"
        print(f"{label(row.cls):<20} {row.count:>8} {share}".rstrip())
    print(f"{out / 'cells.csv'}\n{RESEARCH_USE}")


def _polygon(text: str) -> list[list[float]]:
    """A region from ``x,y,w,h`` or ``x1,y1 x2,y2 x3,y3 …``."""
    try:
        points = [[float(v) for v in part.split(",")] for part in text.split()]
    except ValueError:
        points = []
    if len(points) == 1 and len(points[0]) == 4 and min(points[0][2:]) > 0:
        x, y, w, h = points[0]
        return [[x, y], [x + w, y], [x + w, y + h], [x, y + h]]
    if len(points) >= 3 and all(len(p) == 2 for p in points):
        return points
    raise InputError(f"“{text}” is no region; give x,y,w,h or at least three corners as x,y x,y x,y.")
