"""A small smear with known blobs, a model card for the oracle, and homes to work in."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from cmlcore import jobs, store
from cmlcore.geometry import Mpp
from cmlcore.jobs import DeviceReport, holding
from cmlcore.jobs.device import worker_threads
from cmlcore.jobs.preparation import pending, work_slide
from cmlcore.settings import settings

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from jobs_oracle import MODEL, MPP, PLACES  # noqa: E402
from jobs_server import Server  # noqa: E402


@pytest.fixture(scope="session")
def smear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1000 × 800 pixels, blobs of two sizes, the lower third bare glass; a PNG, so no mpp inside."""
    rng = np.random.default_rng(7)
    image = np.full((800, 1000, 3), 235, np.uint8)
    image += rng.integers(0, 3, image.shape, dtype=np.uint8)
    for k, (x, y) in enumerate(PLACES):
        centre = (int(x + rng.integers(-3, 4)), int(y + rng.integers(-3, 4)))
        cv2.circle(image, centre, 9 if k % 5 == 0 else 5, (90, 40, 120), -1)
    path = tmp_path_factory.mktemp("smear") / "DOE_JOHN.png"
    cv2.imwrite(str(path), image)
    return path


def furnish(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a data folder with a schema and the oracle's card, and go there."""
    weights = b"not really weights"
    card = {
        "key": MODEL,
        "title": "Oracle",
        "kind": "type2",
        "classes": ["erythrocyte", "leukocyte"],
        "mpp": MPP,
        "tile": 160,
        "margin": 32,
        "align": 32,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "min_score": 0.3,
    }
    (home / "models").mkdir(parents=True)
    (home / "models" / f"{MODEL}.json").write_text(json.dumps(card))
    (home / "models" / f"{MODEL}.safetensors").write_bytes(weights)
    known = DeviceReport("CPU (oracle)", "cpu", worker_threads())  # or every service would ask torch
    (home / "device.json").write_text(json.dumps(asdict(known)))
    monkeypatch.setenv("CML_HOME", str(home))
    monkeypatch.setenv(holding.LOADER, "jobs_oracle:load")
    monkeypatch.setenv("PYTHONPATH", f"{HERE}:{HERE.parents[1]}")
    settings.cache_clear()
    store.ensure_schema()


def take_in(smear: Path) -> str:
    """The smear, taken in, checked, with its pixel size."""
    slide_id = jobs.intake_slide(smear, in_place=True)
    for row in pending():
        work_slide(row, lambda: False)
    store.set_mpp(slide_id, Mpp(MPP, MPP))
    return slide_id


@pytest.fixture
def home(tmp_path: Path, cml_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A furnished data folder for one test, without a service."""
    furnish(tmp_path / "home", monkeypatch)
    yield tmp_path / "home"
    holding.let_go()


@pytest.fixture
def slide(home: Path, smear: Path) -> str:
    """The smear in that folder."""
    return take_in(smear)


@pytest.fixture(scope="module")
def served_home(tmp_path_factory: pytest.TempPathFactory, smear: Path) -> Iterator[tuple[Path, list[Server]]]:
    """A furnished data folder with a service at work; a test may put another server in the list."""
    home = tmp_path_factory.mktemp("served") / "home"
    with pytest.MonkeyPatch.context() as patch:
        furnish(home, patch)
        take_in(smear)
        servers = [Server()]
        yield home, servers
        codes = [s.stop() for s in servers]
    settings.cache_clear()
    assert codes[-1] == 0


@pytest.fixture
def server(
    served_home: tuple[Path, list[Server]], cml_home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[Server]]:
    """This test looks at that folder; the last server in the list is the one at work."""
    home, servers = served_home
    monkeypatch.setenv("CML_HOME", str(home))
    settings.cache_clear()
    yield servers
    (home / "orders.json").unlink(missing_ok=True)
