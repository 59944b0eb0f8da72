"""Slide and run rows: what they keep, what they refuse, what deleting takes along."""

import json
from pathlib import Path

import pytest

from cmlcore import store
from cmlcore.errors import InputError
from cmlcore.geometry import Mpp, Size
from cmlcore.settings import settings
from cmlcore.slides.base import Scene, SlideInfo
from cmlcore.slides.facts import info_from_json, info_to_json

INFO = SlideInfo(
    format="Zeiss CZI",
    scenes=(Scene(0, Size(4000, 3000), (-5, 118583), "Scene 1"), Scene(1, Size(10, 20), (9, 9), "Scene 2")),
    levels=4,
    mpp=Mpp(0.22, 0.23),
    objective=40.0,
    kind="brightfield",
    channels=3,
    bits=8,
    compression="JPEG-XR",
    acquired_at="2024-02-29",
    has_label=True,
    warnings=("one", "two"),
)


@pytest.fixture(autouse=True)
def _schema(cml_home: Path) -> None:
    store.ensure_schema()


def _slide(path: Path, **values: object) -> store.Slide:
    return store.add_slide(path, size_bytes=7, imported_in_place=True, **values)  # type: ignore[arg-type]


def _run(slide_id: str, **values: object) -> store.Run:
    asked = {
        "scene": 0,
        "rois": None,
        "model": "type2",
        "model_sha256": "ab",
        "settings": {},
        "mpp_x": 1,
        "mpp_y": 1,
    }
    return store.add_run(slide_id=slide_id, **{**asked, **values})


@pytest.mark.parametrize("mpp", [Mpp(0.22, 0.23), None])
def test_facts_survive_json(mpp: Mpp | None) -> None:
    from dataclasses import replace

    info = replace(INFO, mpp=mpp)
    assert info_from_json(json.loads(json.dumps(info_to_json(info)))) == info


def test_a_row_keeps_the_facts_and_names_no_file(tmp_path: Path) -> None:
    slide = _slide(tmp_path / "DOE^JOHN.czi")
    store.update_slide(slide.id, facts=info_to_json(INFO), status="ready")
    row = store.get_slide(slide.id)
    assert row.info == INFO
    assert row.name == row.id
    assert row.mpp == Mpp(0.22, 0.23)
    assert row.created_at.tzinfo is not None


def test_the_users_pixel_size_wins_and_can_be_taken_back(tmp_path: Path) -> None:
    slide = _slide(tmp_path / "a")
    store.update_slide(slide.id, facts=info_to_json(INFO))
    store.set_mpp(slide.id, Mpp(0.5, 0.5), is_estimate=True)
    row = store.get_slide(slide.id)
    assert (row.mpp, row.mpp_is_estimate) == (Mpp(0.5, 0.5), True)
    store.set_mpp(slide.id, None, is_estimate=True)
    row = store.get_slide(slide.id)
    assert (row.mpp, row.mpp_is_estimate) == (INFO.mpp, False)


def test_rename(tmp_path: Path) -> None:
    slide = _slide(tmp_path / "a", name="  first\n name ")
    assert slide.name == "first name"
    store.rename_slide(slide.id, "second")
    assert store.get_slide(slide.id).name == "second"
    for bad in ("", "  ", "x" * 201):
        with pytest.raises(InputError):
            store.rename_slide(slide.id, bad)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    for call in (store.get_slide, store.delete_slide, store.get_run, store.delete_run):
        with pytest.raises(InputError, match="There is no such"):
            call("nope")
    with pytest.raises(InputError):
        store.set_mpp("nope", Mpp(1, 1))


def test_lists_are_newest_first_and_filtered(tmp_path: Path) -> None:
    a, b = _slide(tmp_path / "a"), _slide(tmp_path / "b")
    store.update_slide(a.id, status="ready")
    assert [s.id for s in store.list_slides()] == [b.id, a.id]
    assert [s.id for s in store.list_slides("ready")] == [a.id]
    r1, r2, r3 = _run(a.id), _run(a.id), _run(b.id)
    assert [r.id for r in store.list_runs(a.id)] == [r2.id, r1.id]
    store.update_run(r1.id, status="done")
    assert [r.id for r in store.list_runs(None, "queued")] == [r3.id, r2.id]


def test_an_update_holds_to_its_condition(tmp_path: Path) -> None:
    run = _run(_slide(tmp_path / "a").id)
    assert store.update_run(run.id, only=("queued",), status="running")
    assert not store.update_run(run.id, only=("queued",), status="cancelled")
    assert store.get_run(run.id).status == "running"


def test_no_roi_and_whole_scene_are_told_apart_from_json_null(tmp_path: Path) -> None:
    slide = _slide(tmp_path / "a")
    polygon = [[[0.0, 0.0], [1.0, 0.0], [1.0, 1.5]]]
    assert store.get_run(_run(slide.id, rois=polygon).id).rois == polygon
    assert store.get_run(_run(slide.id).id).rois is None


@pytest.mark.parametrize("in_place", [True, False])
def test_deleting_takes_everything_but_an_imported_file(tmp_path: Path, in_place: bool) -> None:
    kept = _slide(tmp_path / "other.czi")
    kept_run = _run(kept.id)
    slide = _slide(tmp_path / "x")
    file = tmp_path / "x.czi" if in_place else settings().slides_dir / slide.id / "slide.czi"
    run = _run(slide.id, status="done")
    for f in (
        file,
        store.tile_cache(slide.id) / "0.tif",
        store.run_dir(run.id) / "parts" / "00000000.parquet",
    ):
        f.parent.mkdir(parents=True, exist_ok=True)
        f.write_bytes(b"1")
    store.delete_slide(slide.id)
    assert file.exists() == in_place
    left = [p for p in settings().home.rglob("*") if slide.id in str(p) or run.id in str(p)]
    assert left == []
    assert [s.id for s in store.list_slides()] == [kept.id]
    assert [r.id for r in store.list_runs()] == [kept_run.id]


def test_a_slide_with_a_run_at_work_is_not_deleted(tmp_path: Path) -> None:
    slide = _slide(tmp_path / "a")
    run = _run(slide.id)
    for call, key in ((store.delete_slide, slide.id), (store.delete_run, run.id)):
        with pytest.raises(InputError, match="cancel it first"):
            call(key)
    assert store.get_slide(slide.id).status == "checking"
