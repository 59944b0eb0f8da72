"""Slides on their way in: moved, checked, refused, converted, deleted; nothing half-done stays."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from cmlcore import jobs, store
from cmlcore.errors import InputError, StorageError
from cmlcore.jobs import intake, preparation
from cmlcore.jobs.hashing import hash_slide
from cmlcore.jobs.preparation import pending, work_slide
from cmlcore.settings import settings
from cmlcore.slides import TileStore, convert


def never() -> bool:
    return False


def work() -> None:
    """One round of what the service does with slides."""
    for row in pending():
        work_slide(row, never)


@pytest.fixture
def upload(smear: Path, home: Path) -> Path:
    """A copy of the smear that may be moved, under a telling name."""
    settings().uploads_dir.mkdir()
    return Path(shutil.copy(smear, settings().uploads_dir / "DOE^JOHN 1950.png"))


def test_an_upload_is_moved_under_a_neutral_name_and_checked(upload: Path, smear: Path) -> None:
    slide = jobs.intake_slide(upload, in_place=False)
    row = store.get_slide(slide)
    assert (row.status, row.name, row.info) == ("checking", slide, None)
    assert not upload.exists()
    assert Path(row.path) == settings().slides_dir / slide / "slide.png"
    work()
    row = store.get_slide(slide)
    assert (row.status, row.progress, row.message) == ("ready", 1.0, "")
    assert (row.sha256, row.size_bytes) == (hash_slide(smear), smear.stat().st_size)
    assert row.info is not None
    assert (row.info.kind, row.info.scenes[0].size.w, row.mpp) == ("brightfield", 1000, None)
    assert "DOE" not in repr(vars(row))
    assert pending() == []


def test_an_import_stays_where_it_is(smear: Path, home: Path) -> None:
    slide = jobs.intake_slide(smear, in_place=True, name="Control")
    work()
    assert (store.get_slide(slide).path, store.get_slide(slide).name) == (str(smear), "Control")
    jobs.delete_slide(slide)
    assert smear.exists()
    assert store.list_slides() == []


def test_a_bad_file_is_refused_in_a_sentence_and_can_be_deleted(upload: Path) -> None:
    upload.write_bytes(upload.read_bytes()[:5000])
    slide = jobs.intake_slide(upload, in_place=False)
    work()
    row = store.get_slide(slide)
    assert row.status == "refused"
    assert row.message.endswith(".")
    assert "DOE" not in row.message
    jobs.delete_slide(slide)
    assert list(settings().slides_dir.iterdir()) == []


def test_a_refused_slide_can_be_checked_again(upload: Path) -> None:
    good = upload.read_bytes()
    slide = jobs.intake_slide(upload, in_place=False)
    path = Path(store.get_slide(slide).path)
    path.unlink()
    work()
    assert store.get_slide(slide).status == "refused"
    path.write_bytes(good)
    jobs.recheck_slide(slide)
    work()
    assert store.get_slide(slide).status == "ready"
    with pytest.raises(InputError, match="refused"):
        jobs.recheck_slide(slide)


def test_no_file_no_slide(home: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not there"):
        jobs.intake_slide(tmp_path / "nothing.czi", in_place=True)
    assert store.list_slides() == []


def test_a_full_disk_at_the_move_leaves_nothing(upload: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(intake.shutil, "move", full)
    with pytest.raises(StorageError, match="disk is full"):
        jobs.intake_slide(upload, in_place=False)
    assert list(settings().slides_dir.iterdir()) == []
    assert store.list_slides() == []
    assert upload.exists()


def test_a_flat_file_is_converted_in_a_process_of_its_own(
    upload: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "SMALL_PX", 1000)
    slide = jobs.intake_slide(upload, in_place=False)
    work()
    assert store.get_slide(slide).status == "converting"
    work()
    row = store.get_slide(slide)
    assert (row.status, row.progress, row.message) == ("ready", 1.0, "")
    assert [p.name for p in store.tile_cache(slide).iterdir()] == ["scene0.tif"]
    assert row.info is not None
    tiles = TileStore(Path(row.path), row.info, store.tile_cache(slide))
    seen = cv2.imdecode(np.frombuffer(tiles.tile(0, 0, 0, 0), np.uint8), cv2.IMREAD_COLOR)
    tiles.close()
    assert np.abs(seen.astype(int) - cv2.imread(row.path)[:512, :512]).mean() < 3
    jobs.delete_slide(slide)
    assert not store.tile_cache(slide).exists()


def test_converting_that_fails_says_why(upload: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "SMALL_PX", 1000)
    slide = jobs.intake_slide(upload, in_place=False)
    work()
    settings().tiles_dir.write_text("a file where the folder should be")
    work()
    row = store.get_slide(slide)
    assert row.status == "refused"
    assert "tile cache cannot be written" in row.message


@pytest.mark.parametrize("status", ["checking", "converting"])
def test_a_service_that_stops_leaves_the_rest_for_the_next(
    upload: Path, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "SMALL_PX", 1000)
    slide = jobs.intake_slide(upload, in_place=False)
    if status == "converting":
        work()
    work_slide(store.get_slide(slide), lambda: True)
    assert store.get_slide(slide).status == status
    work()
    work()
    assert store.get_slide(slide).status == "ready"


def test_deleting_ends_the_work_on_a_slide(upload: Path) -> None:
    slide = jobs.intake_slide(upload, in_place=False)
    store.update_slide(slide, status="deleting")
    with pytest.raises(preparation.StoppedError):
        preparation._teller(slide, never)(0.5)
    assert not store.update_slide(slide, status="ready")  # what was under way cannot bring it back
    work()
    assert store.list_slides() == []
    assert not (settings().slides_dir / slide).exists()


@pytest.mark.parametrize(
    "change", [lambda p: (p / "a").write_bytes(b"x"), lambda p: (p / "b").rename(p / "c")]
)
def test_the_hash_of_a_folder_knows_names_and_contents(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode() * 100)
    shares: list[float] = []
    first = hash_slide(tmp_path, shares.append)
    assert shares[-1] == 1.0
    assert hash_slide(tmp_path) == first
    change(tmp_path)
    assert hash_slide(tmp_path) != first
