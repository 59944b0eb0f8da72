"""The demo slide: a smear drawn procedurally, so that a new user has something to open and tests a truth.

No pixel of it comes from a photograph. Scene 1 is an ordinary smear in a warm May-Grünwald-Giemsa stain;
scene 2 is drawn after textbook chronic myeloid leukaemia (leukocytosis, left shift, basophilia)
in a cooler one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cmlcore.demo.czi import write_czi
from cmlcore.demo.smear import COOL, WARM, DrawnCell, Smear, draw_smear
from cmlcore.demo.truth import Recall, read_truth, recall, write_truth
from cmlcore.errors import StorageError
from cmlcore.geometry import Size
from cmlcore.settings import settings

__all__ = [
    "DrawnCell",
    "Recall",
    "Smear",
    "demo_path",
    "demo_scenes",
    "draw_demo",
    "draw_smear",
    "read_truth",
    "recall",
    "truth_path",
]

SEED = 20260
OBJECTIVE = 20
_ORDINARY = {
    "neutrophil": 58.0,
    "band": 3.0,
    "lymphocyte": 22.0,
    "large_lymphocyte": 6.0,
    "monocyte": 7.0,
    "eosinophil": 3.0,
    "basophil": 1.0,
}
_LEFT_SHIFT = {
    "neutrophil": 34.0,
    "band": 14.0,
    "metamyelocyte": 9.0,
    "myelocyte": 16.0,
    "promyelocyte": 4.0,
    "blast": 3.0,
    "lymphocyte": 6.0,
    "monocyte": 3.0,
    "eosinophil": 4.0,
    "basophil": 7.0,
}


def demo_scenes(side: int = 4096) -> list[Smear]:
    """The two scenes, ``side`` pixels wide."""
    ordinary = Smear(Size(side, side), WARM, _ORDINARY, leukocytes_per_mm2=90)
    shifted = Smear(
        Size(side, side * 3 // 4),
        COOL,
        _LEFT_SHIFT,
        erythrocytes_per_mm2=8200,
        leukocytes_per_mm2=420,
        thrombocytes_per_mm2=1300,
        margin=0.06,
    )
    return [ordinary, shifted]


def demo_path() -> Path:
    """Where the demo slide of this installation lies."""
    return settings().home / "demo" / "demo-smear.czi"


def truth_path(slide: Path, scene: int) -> Path:
    """The truth of one scene, beside the slide."""
    return slide.with_name(f"{slide.stem}.scene{scene + 1}.truth.geojson")


def draw_demo(
    path: Path, side: int = 4096, seed: int = SEED, progress: Callable[[float], None] | None = None
) -> Path:
    """Draw the demo slide and write it with its truth; the slide itself comes last and whole.

    Args:
        path: the CZI file.
        side: width of the scenes in pixels.
        seed: the same seed gives the same pixels.
        progress: called with the share done, 0..1.

    Raises:
        StorageError: the folder cannot be written.

    """
    smears = demo_scenes(side)
    origins = [(0, 0)] * len(smears)
    pictures = []
    for i, smear in enumerate(smears):
        origins[i] = (-1300, 2200) if i == 0 else (origins[i - 1][0] + smears[i - 1].size.w + 700, 2900)

        def tell(share: float, before: int = i) -> None:
            if progress is not None:
                progress((before + share) / (len(smears) + 0.3))

        rgb, cells = draw_smear(smear, seed + i, tell)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_truth(truth_path(path, i), cells)
        except OSError as e:
            raise StorageError(
                "The demo slide cannot be written; make room on the disk or set CML_HOME to another folder."
            ) from e
        pictures.append(rgb)
    write_czi(path, pictures, origins, smears[0].mpp, OBJECTIVE)
    if progress is not None:
        progress(1.0)
    return path
