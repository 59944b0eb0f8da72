"""Slides drawn once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from czi_writer import drawn, write_slide
from numpy.typing import NDArray

from cmlcore.geometry import Mpp


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline that a busy test machine keeps; tests of the deadline set their own."""
    monkeypatch.setenv("CML_DECODE_TIMEOUT_S", "60")


@pytest.fixture(scope="session")
def picture() -> NDArray[np.uint8]:
    return drawn(1100, 1500, seed=1)


@pytest.fixture(scope="session")
def slide_path(picture: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CZI of two scenes with pyramid; scene 0 at a negative, scene 1 at a far origin."""
    path = tmp_path_factory.mktemp("slides") / "two.czi"
    scenes = [((-700, -300), picture), ((250_000, 180_001), picture[:500, :700])]
    write_slide(path, scenes, mpp=Mpp(0.2, 0.21), objective=63, date="2026-05-04T09:08:07Z", tile=256)
    return path
