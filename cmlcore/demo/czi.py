"""Writing drawn scenes as a mosaic CZI, as a slide scanner would: tiles, stage origins, scale, objective."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from pylibCZIrw import czi

from cmlcore.errors import StorageError

TILE = 1024
COMPRESSION = "zstd1:ExplicitLevel=1"


def write_czi(
    path: Path,
    scenes: Sequence[NDArray[np.uint8]],
    origins: Sequence[tuple[int, int]],
    mpp: float,
    objective: int,
) -> None:
    """Write RGB scenes as one CZI; nothing is left behind where that fails.

    Args:
        path: the file; replaced if it exists.
        scenes: uint8 RGB ``(h, w, 3)`` each.
        origins: top left of each scene on the stage, in pixels; may be negative.
        mpp: µm per pixel.
        objective: nominal magnification.

    Raises:
        StorageError: the disk is full or the folder cannot be written.

    """
    part = path.with_suffix(".part.czi")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with czi.create_czi(str(part), exist_ok=True, compression_options=COMPRESSION) as out:
            for s, (rgb, (x0, y0)) in enumerate(zip(scenes, origins, strict=True)):
                for y in range(0, rgb.shape[0], TILE):
                    for x in range(0, rgb.shape[1], TILE):
                        bgr = np.ascontiguousarray(rgb[y : y + TILE, x : x + TILE, ::-1])
                        out.write(bgr, location=(x0 + x, y0 + y), plane={"C": 0}, scene=s)
            metres = mpp * 1e-6  # the library stores the number as it comes, and readers expect metres
            out.write_metadata("Demo smear", {0: "Brightfield"}, scale_x=metres, scale_y=metres)
        with czi.edit_czi(str(part)) as editor, editor.edit_session() as session:
            session.set_xml(_with_objective(session.get_xml(), objective))
        part.replace(path)
    except (OSError, RuntimeError) as e:
        part.unlink(missing_ok=True)
        raise StorageError(
            "The demo slide cannot be written; make room on the disk or set CML_HOME to another folder."
        ) from e


def _with_objective(xml: str, objective: int) -> str:
    """The metadata with the objective where slide scanners put it."""
    # The text was written by libCZI a moment ago: nothing foreign is parsed here.
    root = ElementTree.fromstring(xml)  # noqa: S314
    information = root.find("Metadata/Information")
    if information is None:
        raise RuntimeError("libCZI wrote metadata without an Information element")
    image = information.find("Image")
    if image is None:
        image = ElementTree.SubElement(information, "Image")
    ElementTree.SubElement(
        ElementTree.SubElement(image, "ObjectiveSettings"), "ObjectiveRef", Id="Objective:1"
    )
    instrument = ElementTree.SubElement(information, "Instrument")
    objectives = ElementTree.SubElement(instrument, "Objectives")
    lens = ElementTree.SubElement(objectives, "Objective", Id="Objective:1", Name="Plan-Apochromat 20x/0.8")
    ElementTree.SubElement(lens, "LensNA").text = "0.8"
    ElementTree.SubElement(lens, "NominalMagnification").text = str(objective)
    ElementTree.SubElement(lens, "Immersion").text = "Air"
    return ElementTree.tostring(root, encoding="unicode")
