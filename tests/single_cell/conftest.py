"""Drawn cells: discs of a class's own colour on pale ground, enough to run every road quickly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_cells import COLOURS, drawn_cell
from PIL import Image

from cmlcore.settings import settings


@pytest.fixture(scope="session")
def drawn_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of three classes, ten images each."""
    root = tmp_path_factory.mktemp("drawn")
    rng = np.random.default_rng(0)
    for cls in COLOURS:
        (root / cls).mkdir()
        for i in range(10):
            Image.fromarray(drawn_cell(cls, rng)).save(root / cls / f"{cls}_{i}.png")
    return root


@pytest.fixture(autouse=True)
def _torch_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling a body takes longer than these tests; tests/models/test_classifier_engine.py does it."""
    monkeypatch.setenv("CML_CPU_ENGINE", "torch")
    settings.cache_clear()
