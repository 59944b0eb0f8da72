"""Fixtures every test may use: a private data folder, and the real images where a machine has them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmlcore.settings import settings

DATA_VARIABLE = "CML_TEST_DATA"


@pytest.fixture(autouse=True)
def cml_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh CML_HOME for each test."""
    home = tmp_path / "cml_home"
    home.mkdir()
    monkeypatch.setenv("CML_HOME", str(home))
    settings.cache_clear()
    yield home
    settings.cache_clear()


def _real(folder: str) -> Path:
    root = os.environ.get(DATA_VARIABLE, "")
    path = Path(root) / folder
    if not root or not path.is_dir():
        pytest.skip(
            f"real images are not on this machine ({DATA_VARIABLE} does not name a folder with {folder}/)"
        )
    return path


@pytest.fixture
def real_data() -> Path:
    """Folder of the labelled image sets."""
    return _real("data")


@pytest.fixture
def real_slides() -> Path:
    """Folder of real slide files."""
    return _real("slides")
