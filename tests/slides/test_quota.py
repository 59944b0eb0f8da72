"""The tile cache keeps to its quota and forgets what was used longest ago."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cmlcore.settings import settings
from cmlcore.slides import quota


def fill(root: Path, n: int, size: int) -> list[Path]:
    files = [root / f"s{k % 3}" / f"{k}.jpg" for k in range(n)]
    for k, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(size))
        os.utime(file, (1_000_000 + k, 1_000_000 + k))
    return files


def test_oldest_go_first(tmp_path: Path) -> None:
    files = fill(tmp_path, 20, 100)
    quota.sweep(tmp_path, 1000)
    assert [f for f in files if f.exists()] == files[-9:]


def test_within_the_quota_nothing_goes(tmp_path: Path) -> None:
    files = fill(tmp_path, 10, 100)
    quota.sweep(tmp_path, 1000)
    assert all(f.exists() for f in files)


def test_use_makes_young(tmp_path: Path) -> None:
    files = fill(tmp_path, 10, 100)
    quota.touch(files[0])
    quota.sweep(tmp_path, 500)
    assert files[0].exists()
    assert not files[1].exists()
    quota.touch(tmp_path / "absent")


def test_writing_sweeps_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CML_TILE_CACHE_BYTES", "1000")
    settings.cache_clear()
    files = fill(settings().tiles_dir, 20, 100)
    quota.written(2000)
    assert sum(f.stat().st_size for f in files if f.exists()) <= 1000
