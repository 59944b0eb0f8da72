"""``SlideInfo`` as plain JSON values and back, for the way out of the decoding process."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from cmlcore.geometry import Mpp, Size
from cmlcore.slides.base import Scene, SlideInfo


def info_to_json(info: SlideInfo) -> dict[str, Any]:
    """Plain values, one key a field."""
    return asdict(info)


def info_from_json(d: dict[str, Any]) -> SlideInfo:
    """Inverse of ``info_to_json``."""
    scenes = tuple(
        Scene(s["index"], Size(**s["size"]), (s["origin"][0], s["origin"][1]), s["name"]) for s in d["scenes"]
    )
    mpp = Mpp(**d["mpp"]) if d["mpp"] else None
    return SlideInfo(**d | {"scenes": scenes, "mpp": mpp, "warnings": tuple(d["warnings"])})
