"""Tiles over HTTP are the TileStore's bytes; what is not there is a sentence with the fitting status."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from cmlcore import store
from cmlcore.slides import TILE, TileStore

from .conftest import HEIGHT, WIDTH, smear


def test_every_tile_equals_the_stores(client: TestClient, slide: store.Slide, tmp_path: Path) -> None:
    facts = client.get(f"/slides/{slide.id}/0.json").json()
    assert (facts["width"], facts["height"], facts["tile"]) == (WIDTH, HEIGHT, TILE)
    assert facts["mpp"] == pytest.approx(0.22)
    assert slide.info is not None
    own = TileStore(Path(slide.path), slide.info, tmp_path / "other-cache")
    try:
        assert facts["levels"] == len(own.levels(0))
        for level, size in enumerate(own.levels(0)):
            for row in range(-(-size.h // TILE)):
                for col in range(-(-size.w // TILE)):
                    answer = client.get(f"{facts['tiles']}{level}/{col}_{row}.jpeg")
                    assert answer.status_code == 200
                    assert answer.headers["content-type"] == "image/jpeg"
                    assert answer.content == own.tile(0, level, col, row)
    finally:
        own.close()


def test_the_tiles_together_are_the_picture(client: TestClient, slide: store.Slide) -> None:
    canvas = np.zeros((2 * TILE, 3 * TILE, 3), np.uint8)
    for row in range(2):
        for col in range(3):
            body = client.get(f"/tiles/{slide.id}/0/0/{col}_{row}.jpeg").content
            tile = np.asarray(Image.open(io.BytesIO(body)))
            canvas[row * TILE :, col * TILE :][: tile.shape[0], : tile.shape[1]] = tile
    difference = np.abs(canvas[:HEIGHT, :WIDTH].astype(int) - smear())
    assert difference.mean() < 2.0


def test_a_held_tile_is_not_sent_again(client: TestClient, slide: store.Slide) -> None:
    url = f"/tiles/{slide.id}/0/0/0_0.jpeg"
    first = client.get(url)
    assert "immutable" in first.headers["cache-control"]
    again = client.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(url, headers={"If-None-Match": '"another"'}).content == first.content


@pytest.mark.parametrize("path", ["0/0/3_0.jpeg", "0/0/0_2.jpeg", "0/9/0_0.jpeg", "7/0/0_0.jpeg"])
def test_a_tile_outside_is_404(client: TestClient, slide: store.Slide, path: str) -> None:
    answer = client.get(f"/tiles/{slide.id}/{path}")
    assert answer.status_code == 404
    assert answer.json()["error"].endswith(".")


def test_an_unknown_slide_is_404_everywhere(client: TestClient) -> None:
    for url in ("/tiles/none/0/0/0_0.jpeg", "/thumbnails/none/0.jpeg", "/slides/none/0.json"):
        answer = client.get(url)
        assert answer.status_code == 404
        assert "no such slide" in answer.json()["error"]


def test_a_slide_being_checked_waits_and_a_refused_one_says_why(
    client: TestClient, slide: store.Slide
) -> None:
    store.update_slide(slide.id, status="checking")
    facts = client.get(f"/slides/{slide.id}/0.json").json()
    assert "being checked" in facts["waiting"]
    assert client.get(f"/tiles/{slide.id}/0/0/0_0.jpeg").status_code == 409

    store.update_slide(slide.id, status="refused", message="The file is cut short; export it again.")
    for url in (f"/slides/{slide.id}/0.json", f"/tiles/{slide.id}/0/0/0_0.jpeg"):
        answer = client.get(url)
        assert answer.status_code == 422
        assert answer.json() == {"error": "The file is cut short; export it again."}


def test_a_deleted_slide_is_gone_from_the_pool(
    client: TestClient, slide: store.Slide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cmlcore.web.open_slides.RECHECK_S", 0.0)
    url = f"/tiles/{slide.id}/0/0/0_0.jpeg"
    assert client.get(url).status_code == 200
    store.delete_slide(slide.id)
    assert client.get(url).status_code == 404


def test_thumbnails_come_in_fixed_lengths(client: TestClient, slide: store.Slide) -> None:
    answer = client.get(f"/thumbnails/{slide.id}/0.jpeg?side=256")
    width, height = Image.open(io.BytesIO(answer.content)).size
    assert 128 <= width <= 256
    assert abs(width / height - WIDTH / HEIGHT) < 0.03
    assert client.get(f"/thumbnails/{slide.id}/0.jpeg?side=257").status_code == 404
    assert client.get(f"/thumbnails/{slide.id}/0.jpeg?side=-1").status_code == 404


def test_no_answer_tells_the_files_name(client: TestClient, slide: store.Slide) -> None:
    store.update_slide(slide.id, facts={**(slide.facts or {})})
    Path(slide.path).unlink()
    for url in (f"/slides/{slide.id}/0.json", f"/tiles/{slide.id}/0/0/0_0.jpeg"):
        assert "patient" not in client.get(url).text


def test_the_first_page_has_a_name_too(client: TestClient) -> None:
    answer = client.get("/slides", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, "/")
