"""Dropped pictures on their way to disk, the gallery's pictures, and the table as CSV."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from cmlcore import RESEARCH_USE
from cmlcore.jobs.classify import NAMINGS
from cmlcore.jobs.crops import crop
from cmlcore.jobs.pictures import batch_dir, dropped
from cmlcore.web import pictures

sys.path.insert(0, str(Path(__file__).parents[1] / "ui"))
from named_cells import a_naming


def put(client: TestClient, batch: str, number: int, name: str, body: bytes):
    return client.put(f"/pictures/{batch}/{number}", content=body, headers={"X-Name": quote(name)})


def test_pictures_lie_on_disk_under_their_own_names(client: TestClient) -> None:
    batch = client.post("/pictures").json()["batch"]
    for number, (name, body) in enumerate(
        [("Zelle ä.png", b"1"), ("../../x.png", b"2"), ("Zelle ä.png", b"3")]
    ):
        answer = put(client, batch, number, name, body)
        assert (answer.status_code, answer.json()) == (200, {"bytes": 1})
    found = dropped(batch_dir(batch))
    assert [(p.name, p.read_bytes()) for p in found] == [
        ("Zelle ä.png", b"1"), ("x.png", b"2"), ("Zelle ä.png", b"3"),
    ]  # fmt: skip


def test_what_is_too_large_or_nowhere_is_refused(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "FILE_BYTES", 1 << 20)
    batch = client.post("/pictures").json()["batch"]
    answer = put(client, batch, 0, "huge.png", b"x" * ((1 << 20) + 1))
    assert answer.status_code == 413
    assert "huge.png is larger than 1 MiB" in answer.json()["error"]
    assert dropped(batch_dir(batch)) == []
    for key in ("0" * 32, "x"):
        answer = put(client, key, 0, "a.png", b"x")
        assert answer.status_code == 400
        assert "no such batch" in answer.json()["error"]


def test_a_foreign_page_may_not_drop_anything(client: TestClient) -> None:
    assert client.post("/pictures", headers={"Origin": "http://evil.example"}).status_code == 403


def test_a_crop_is_served_once(client: TestClient) -> None:
    key = a_naming()
    answer = client.get(f"/namings/{key}/3.jpeg?of=1")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.content == crop(NAMINGS.folder(key), 3)
    assert "immutable" in answer.headers["cache-control"]
    again = client.get(f"/namings/{key}/3.jpeg?of=1", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    for path in (f"/namings/{key}/60.jpeg", "/namings/nobody/0.jpeg", "/namings/..%2Fx/0.jpeg"):
        assert client.get(path).status_code == 404


def test_the_table_is_streamed_with_the_notice(client: TestClient) -> None:
    key = a_naming()
    answer = client.get(f"/namings/{key}.csv")
    assert "attachment" in answer.headers["content-disposition"]
    lines = answer.text.splitlines()
    assert RESEARCH_USE in lines[0]
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert len(rows) == 61
    assert rows[0]["class"] == "unidentified"
    assert (rows[60]["image"], rows[60]["note"]) == ("grey.png", "grey.png is grey.")
    assert client.get("/namings/nobody.csv").status_code == 404
