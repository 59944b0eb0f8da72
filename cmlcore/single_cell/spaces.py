"""Names of the colour spaces of the bench. Imports no torch."""

from __future__ import annotations

from typing import Literal, get_args

from cmlcore.errors import InputError

Space = Literal["rgb", "rgb+aug", "stain+aug", "raw", "raw-packed"]
SPACES: tuple[Space, ...] = get_args(Space)
TITLES = {
    "rgb": "RGB",
    "rgb+aug": "RGB, augmented",
    "stain+aug": "RGB, stain evened, augmented",
    "raw": "Raw, linear",
    "raw-packed": "Raw, packed mosaic",
}


def space(name: str) -> Space:
    """A colour space by name.

    Raises:
        InputError: there is none of this name.

    """
    if name not in SPACES:
        raise InputError(f"“{name}” is not a colour space; choose one of {', '.join(SPACES)}.")
    return name
