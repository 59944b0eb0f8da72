"""Cells in plain images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cmlcore.cli.common import Device, Model, bar, write
from cmlcore.errors import InputError
from cmlcore.geometry import Mpp

if TYPE_CHECKING:
    from models.base import CellModel


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(predict)


def predict(
    images: Annotated[list[Path], typer.Argument(help="PNG, JPEG, TIFF or BMP files.")],
    out: Annotated[Path, typer.Option(help="The JSON file to write: a list of COCO results.")],
    mpp: Annotated[str, typer.Option(help="µm per pixel of the images, or auto.")],
    model: Model = "type2",
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Leave out cells below.")] = 0.01,
    device: Device = "auto",
) -> None:
    """Outline and name the cells of plain images."""
    scale = _pixel_size(mpp)
    from cmlcore.predict import predict_images

    where = ""

    def note(network: CellModel) -> None:
        nonlocal where
        where = network.device

    with bar() as bars:
        task = bars.add_task("Images", total=len(images))
        results = predict_images(
            images, model, scale, min_score, device, lambda done, _: bars.update(task, completed=done), note
        )
    write(out, [json.dumps(results, ensure_ascii=False).encode()])
    print(f"{len(results)} cells in {len(images)} images by {where}: {out}")


def _pixel_size(text: str) -> float | Literal["auto"]:
    """A number of µm per pixel, or "auto"."""
    if text == "auto":
        return "auto"
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"“{text}” is no pixel size; give µm per pixel, such as 0.1, or auto.") from None
    return Mpp(value, value).x
