"""``python -m cmlcore.jobs.explain_child``: draws where a classifier looked; a question a line, JSON.

It keeps the classifier last asked for, ends when nobody has asked for ``IDLE_S``, and with its parent.
"""

from __future__ import annotations

import json
import os
import select
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cmlcore.errors import CmlError, ModelError
from cmlcore.files import whole_file
from cmlcore.jobs.classify import naming_result
from cmlcore.jobs.crops import crop, jpeg, rgb_of
from cmlcore.jobs.explainer import map_paths

if TYPE_CHECKING:
    from cmlcore.single_cell.classify import CellClassifier

IDLE_S = 300.0
SHOWN = 448  # pixels a side of the picture with its map
_STRONGEST = 0.72  # opacity of the map where it is highest


def main() -> None:
    """Answer until nobody asks."""
    os.nice(5)
    held = _Held()
    while select.select([sys.stdin], [], [], IDLE_S)[0]:
        line = sys.stdin.readline()
        if not line:
            return
        print(json.dumps(answer(json.loads(line), held)), flush=True)


class _Held:
    """The classifier last asked for."""

    def __init__(self) -> None:
        self._model: CellClassifier | None = None

    def get(self, key: str, sha256: str) -> CellClassifier:
        from cmlcore.single_cell.classify import load

        if self._model is None or (self._model.card.key, self._model.card.sha256) != (key, sha256):
            self._model = load(key)
        if self._model.card.sha256 != sha256:
            raise ModelError(f"The classifier “{key}” has changed since; name the cells again.")
        return self._model


def answer(question: dict[str, Any], held: _Held) -> dict[str, str]:
    """One question's answer: method and path, or the sentence that says why there is none."""
    from cmlcore.single_cell.explain import explain

    folder, row, cls = Path(question["folder"]), int(question["row"]), str(question["cls"])
    try:
        found = naming_result(folder)
        model = held.get(found.classifier, found.sha256)
        field = rgb_of(crop(folder, row))
        method, heat = explain(model, field, cls)
        path = map_paths(folder, row, cls)[method]
        with whole_file(path, durable=False) as part:
            part.write_bytes(jpeg(laid_over(field, heat)))
    except CmlError as e:
        return {"error": str(e)}
    except (MemoryError, OSError) as e:
        return {"error": f"The explanation could not be made: {type(e).__name__}; free some memory or disk."}
    return {"method": method, "path": str(path)}


def laid_over(field: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map 0..1 ``(H, W)`` over a picture uint8 ``(H, W, 3)``: the higher, the more it covers."""
    size = (SHOWN, SHOWN)
    large = cv2.resize(field, size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    h = np.clip(cv2.resize(heat, size, interpolation=cv2.INTER_CUBIC), 0, 1)
    colours = cv2.applyColorMap(np.rint(255 * h).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    alpha = (_STRONGEST * np.sqrt(h))[..., None]
    return np.rint(large * (1 - alpha) + colours * alpha).astype(np.uint8)


if __name__ == "__main__":
    main()
