"""Small labelled sets, written as people's tools write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

Image = Callable[..., Path]


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """Write a small colour image below the test's folder: ``image("a.png", w, h)``."""

    def write(name: str, w: int = 60, h: int = 40) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(len(name))
        assert cv2.imwrite(str(path), rng.integers(180, 255, (h, w, 3)).astype(np.uint8))
        return path

    return write


@pytest.fixture
def jsons(tmp_path: Path) -> Callable[[str, Any], Path]:
    """Write JSON below the test's folder."""

    def write(name: str, value: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value), encoding="utf-8")
        return path

    return write


@pytest.fixture
def said() -> list[str]:
    """What a reader says: pass ``said.append`` as ``tell``."""
    return []
