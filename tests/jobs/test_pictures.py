"""Dropped pictures: names that lead nowhere else, archives unpacked within bounds, crops kept in one file."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmlcore.errors import InputError
from cmlcore.jobs import pictures
from cmlcore.jobs.crops import BIN, CropWriter, crop, rgb_of
from cmlcore.jobs.pictures import batch_dir, dropped, new_batch, place_for, safe_name, unpack


@given(st.text(max_size=300))
def test_a_name_stays_in_its_folder(name) -> None:
    made = safe_name(name)
    assert made not in ("", ".", "..")
    assert "/" not in made
    assert "\0" not in made
    assert len(made.encode()) <= 4 * 120


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("cell 7.png", "cell 7.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\Zelle.tif", "Zelle.tif"),
        ("..", "image"),
        ("a\nb.png", "ab.png"),
        ("x" * 300 + ".jpeg", "x" * 115 + ".jpeg"),
    ],
)
def test_names_as_people_know_them(name, made) -> None:
    assert safe_name(name) == made


def test_files_come_back_in_the_order_dropped_though_two_bear_one_name(cml_home) -> None:
    batch = new_batch()
    for number in (2, 0, 1):
        place_for(batch, number, "cell.png").write_bytes(bytes([number]))
    assert [p.read_bytes() for p in dropped(batch_dir(batch))] == [b"\0", b"\1", b"\2"]
    assert {p.name for p in dropped(batch_dir(batch))} == {"cell.png"}


def test_what_is_no_batch_is_refused(cml_home) -> None:
    for key in ("../runs", "0" * 31, "g" * 32):
        with pytest.raises(InputError, match="no such batch"):
            batch_dir(key)
    with pytest.raises(InputError, match="no such batch"):
        place_for("0" * 32, 0, "a.png")
    with pytest.raises(InputError, match="at most"):
        place_for(new_batch(), pictures.MOST, "a.png")


def packed(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name, body in files.items():
            z.writestr(name, body)
    return out.getvalue()


def test_an_archive_is_unpacked_in_its_place(cml_home) -> None:
    batch = new_batch()
    place_for(batch, 0, "first.png").write_bytes(b"1")
    body = packed(**{"b/two.png": b"2", "b/three.png": b"3", "__MACOSX/x.png": b"", "../../out.png": b"4",
                     ".hidden.png": b""})  # fmt: skip
    place_for(batch, 1, "cells.zip").write_bytes(body)
    place_for(batch, 2, "last.png").write_bytes(b"5")
    folder = batch_dir(batch)
    before = set(folder.parent.rglob("*"))
    assert unpack(folder) == []
    assert [p.name for p in dropped(folder)] == ["first.png", "three.png", "two.png", "last.png"]
    assert [p.read_bytes() for p in dropped(folder)] == [b"1", b"3", b"2", b"5"]
    new = set(folder.parent.rglob("*")) - before
    assert all(p.is_relative_to(folder / "000001") for p in new)


def test_too_much_and_damaged_archives_are_said(cml_home, monkeypatch) -> None:
    monkeypatch.setattr(pictures, "FILE_BYTES", 1000)
    monkeypatch.setattr(pictures, "MOST", 3)
    batch = new_batch()
    files = {f"{i}.png": b"x" for i in range(5)} | {"0-bomb.png": b"\0" * 5000}
    place_for(batch, 0, "many.zip").write_bytes(packed(**files))
    place_for(batch, 1, "torn.zip").write_bytes(packed(a=b"x" * 100)[:60])
    refused = dict(unpack(batch_dir(batch)))
    assert set(refused) == {"0-bomb.png", "3.png", "torn.zip"}
    assert "too large" in refused["0-bomb.png"]
    assert "too much" in refused["3.png"]
    assert "damaged" in refused["torn.zip"]
    assert [p.name for p in dropped(batch_dir(batch))] == ["0.png", "1.png", "2.png"]


def test_an_archive_that_lies_about_its_size_is_cut(cml_home, monkeypatch) -> None:
    monkeypatch.setattr(pictures, "FILE_BYTES", 2000)
    monkeypatch.setattr(pictures, "_CHUNK", 500)
    batch = new_batch()
    place_for(batch, 0, "liar.zip").write_bytes(packed(a=b"\0" * 50_000))
    monkeypatch.setattr(zipfile.ZipInfo, "file_size", property(lambda _: 10, lambda *_: None), raising=False)
    unpack(batch_dir(batch))
    assert all(p.stat().st_size <= 2500 for p in dropped(batch_dir(batch)))


def test_crops_are_read_back_one_by_one(tmp_path) -> None:
    yy, xx = np.mgrid[0:48, 0:48]
    smooth = np.stack([np.stack([xx * 4, yy * 4, 0 * xx + 20 * i], -1) for i in range(5)]).astype(np.uint8)
    with CropWriter(tmp_path) as crops:
        crops.add(smooth[:2])
        crops.add(smooth[2:])
    for i in range(5):
        assert np.abs(rgb_of(crop(tmp_path, i)).astype(int) - smooth[i]).mean() < 2
    for row in (-1, 5):
        with pytest.raises(InputError, match="no such cell"):
            crop(tmp_path, row)
    (tmp_path / BIN).unlink()
    with pytest.raises(InputError, match="gone"):
        crop(tmp_path, 0)


def test_broken_off_crops_are_none(tmp_path) -> None:
    crops = CropWriter(tmp_path)
    crops.add(np.zeros((1, 32, 32, 3), np.uint8))
    crops.__exit__(RuntimeError, RuntimeError(), None)
    with pytest.raises(InputError, match="gone"):
        crop(tmp_path, 0)
