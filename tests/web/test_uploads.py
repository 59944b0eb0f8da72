"""tus uploads: cut anywhere and gone on, refused in a sentence, nothing lost, nothing left behind."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from httpx import Response
from starlette.testclient import TestClient

from cmlcore import store
from cmlcore.errors import StorageError
from cmlcore.settings import settings
from cmlcore.web import upload_files, uploads

TUS = {"Tus-Resumable": "1.0.0"}


def create(client: TestClient, length: int, extension: str = "czi") -> str:
    meta = f"extension {base64.b64encode(extension.encode()).decode()}"
    answer = client.post("/uploads", headers=TUS | {"Upload-Length": str(length), "Upload-Metadata": meta})
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


def patch(client: TestClient, url: str, offset: int, body: bytes | Iterator[bytes], **more: str) -> Response:
    headers = TUS | {"Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)} | more
    return client.patch(url, headers=headers, content=body)


def leftovers() -> list[Path]:
    root = settings().uploads_dir
    return list(root.iterdir()) if root.is_dir() else []


def test_the_server_says_what_it_supports(client: TestClient) -> None:
    answer = client.options("/uploads")
    assert answer.headers["tus-version"] == "1.0.0"
    assert answer.headers["tus-extension"] == "creation,termination"
    assert int(answer.headers["tus-max-size"]) == settings().max_upload_bytes


@pytest.mark.parametrize("piece", [7, 131, 4096, 1 << 20])
def test_a_slide_cut_into_pieces_arrives_whole(client: TestClient, czi: Path, piece: int) -> None:
    body = czi.read_bytes()
    if piece < 100:
        body = body[: 40 * piece]
    url = create(client, len(body))
    for start in range(0, len(body), piece):
        head = client.head(url, headers=TUS)
        assert (head.status_code, head.headers["upload-offset"]) == (200, str(start))
        assert head.headers["cache-control"] == "no-store"
        answer = patch(client, url, start, body[start : start + piece])
        assert answer.status_code == 204
    slide = store.get_slide(answer.headers["x-slide-id"])
    stored = Path(slide.path)
    assert hashlib.sha256(stored.read_bytes()).digest() == hashlib.sha256(body).digest()
    assert stored.name == "slide.czi"
    assert slide.name == slide.id
    assert not slide.imported_in_place


def test_a_lost_last_answer_can_be_asked_for_again(client: TestClient, czi: Path) -> None:
    body = czi.read_bytes()
    url = create(client, len(body))
    slide = patch(client, url, 0, body).headers["x-slide-id"]
    again = client.head(url, headers=TUS)
    assert again.headers["upload-offset"] == again.headers["upload-length"] == str(len(body))
    assert again.headers["x-slide-id"] == slide
    assert patch(client, url, len(body), b"").headers["x-slide-id"] == slide
    assert len(store.list_slides()) == 1


def test_a_wrong_offset_is_a_conflict_and_changes_nothing(client: TestClient, czi: Path) -> None:
    body = czi.read_bytes()
    url = create(client, len(body))
    patch(client, url, 0, body[:1000])
    answer = patch(client, url, 500, body[500:])
    assert answer.status_code == 409
    assert "byte 1000" in answer.json()["error"]
    assert client.head(url, headers=TUS).headers["upload-offset"] == "1000"


def test_more_bytes_than_announced_are_refused(client: TestClient, czi: Path) -> None:
    body = czi.read_bytes()
    url = create(client, len(body) - 1)
    assert patch(client, url, 0, body).status_code == 400
    assert client.head(url, headers=TUS).headers["upload-offset"] == "0"


def test_too_large_empty_and_malformed_are_refused_at_once(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CML_MAX_UPLOAD_BYTES", "1000")
    settings.cache_clear()
    for length, status in (("1001", 413), ("0", 400), ("-5", 400), ("5e3", 400), ("", 400)):
        answer = client.post("/uploads", headers=TUS | {"Upload-Length": length})
        assert answer.status_code == status, length
        assert answer.json()["error"].endswith(".")
    bad = client.post("/uploads", headers=TUS | {"Upload-Length": "5", "Upload-Metadata": "extension ***"})
    assert bad.status_code == 400
    assert leftovers() == []


def test_another_tus_version_is_refused(client: TestClient) -> None:
    answer = client.post("/uploads", headers={"Upload-Length": "5", "Tus-Resumable": "0.2.2"})
    assert (answer.status_code, answer.headers["tus-version"]) == (412, "1.0.0")


@pytest.mark.parametrize("pieces", [1, 5])
def test_a_file_that_is_no_slide_goes_with_its_first_bytes(client: TestClient, pieces: int) -> None:
    body = b"%PDF-1.7 a letter, not a slide" * 200
    url = create(client, len(body), "czi")  # whatever its extension claims
    step = -(-len(body) // pieces)
    answer = patch(client, url, 0, body[:step])
    assert answer.status_code == 422
    assert "none of the slide formats" in answer.json()["error"]
    assert client.head(url, headers=TUS).status_code == 404
    assert leftovers() == []
    assert store.list_slides() == []


def test_a_short_file_of_another_kind_is_refused_too(client: TestClient) -> None:
    url = create(client, 5)
    assert patch(client, url, 0, b"hello").status_code == 422
    assert leftovers() == []


def test_a_full_disk_loses_nothing(client: TestClient, czi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = czi.read_bytes()
    half = len(body) // 2
    url = create(client, len(body))
    patch(client, url, 0, body[:half])

    real = upload_files.PartialUpload.append

    def full(self: upload_files.PartialUpload, piece: bytes) -> None:
        def no_room(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as m:
            m.setattr(Path, "open", no_room)
            real(self, piece)

    with monkeypatch.context() as m:
        m.setattr(upload_files.PartialUpload, "append", full)
        answer = patch(client, url, half, body[half:])
    assert answer.status_code == 507
    assert "disk is full" in answer.json()["error"]
    assert client.head(url, headers=TUS).headers["upload-offset"] == str(half)

    assert patch(client, url, half, body[half:]).status_code == 204
    assert Path(store.list_slides()[0].path).read_bytes() == body


def test_an_intake_that_fails_can_be_tried_again(
    client: TestClient, czi: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = czi.read_bytes()
    url = create(client, len(body))

    def full(*_: object, **__: object) -> str:
        raise StorageError("The disk is full; free some space and try again.")

    with monkeypatch.context() as m:
        m.setattr(uploads, "intake_slide", full)
        assert patch(client, url, 0, body).status_code == 507
    assert client.head(url, headers=TUS).headers["upload-offset"] == str(len(body))
    answer = patch(client, url, len(body), b"")
    assert Path(store.get_slide(answer.headers["x-slide-id"]).path).read_bytes() == body


def test_a_server_killed_while_handing_over_is_mended(client: TestClient, czi: Path) -> None:
    body = czi.read_bytes()
    url = create(client, len(body))
    upload = upload_files.find(url.rsplit("/", 1)[1])
    upload.data.write_bytes(body)
    upload.named()
    assert client.head(url, headers=TUS).headers["upload-offset"] == str(len(body))
    upload.named().unlink()
    assert client.head(url, headers=TUS).status_code == 404
    assert leftovers() == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_the_kernels_own_full_disk_is_told_apart(client: TestClient, czi: Path) -> None:
    body = czi.read_bytes()
    url = create(client, len(body))
    data = settings().uploads_dir / url.rsplit("/", 1)[1] / "data"
    data.unlink()
    data.symlink_to("/dev/full")
    assert patch(client, url, 0, body).status_code == 507
    data.unlink()
    data.touch()
    assert patch(client, url, 0, body).status_code == 204


def test_no_room_is_said_before_the_first_byte(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(settings().home)._replace(free=upload_files.SPARE_BYTES + 999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    answer = client.post("/uploads", headers=TUS | {"Upload-Length": "1000"})
    assert answer.status_code == 507
    assert "GB free" in answer.json()["error"]
    assert leftovers() == []
    assert client.post("/uploads", headers=TUS | {"Upload-Length": "999"}).status_code == 201


def test_a_cut_connection_keeps_what_came(client: TestClient, czi: Path) -> None:
    body = czi.read_bytes()
    url = create(client, len(body))

    def breaking() -> Iterator[bytes]:
        yield body[:5000]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        patch(client, url, 0, breaking())
    # httpx gives the server nothing of a broken body, a socket would; either way the offset is the truth
    offset = int(client.head(url, headers=TUS).headers["upload-offset"])
    assert offset in (0, 5000)
    assert patch(client, url, offset, body[offset:]).status_code == 204


def test_two_writers_at_once_are_kept_apart(client: TestClient, czi: Path) -> None:
    url = create(client, 10_000)
    upload_id = url.rsplit("/", 1)[1]
    uploads._busy.add(upload_id)
    try:
        assert patch(client, url, 0, b"x").status_code == 423
        assert client.delete(url, headers=TUS).status_code == 423
    finally:
        uploads._busy.discard(upload_id)
    assert client.head(url, headers=TUS).headers["upload-offset"] == "0"


def test_giving_up_removes_every_byte(client: TestClient, czi: Path) -> None:
    url = create(client, 10_000)
    patch(client, url, 0, czi.read_bytes()[:4000])
    assert client.delete(url, headers=TUS).status_code == 204
    assert client.head(url, headers=TUS).status_code == 404
    assert leftovers() == []


@pytest.mark.parametrize("name", ["..", "%2e%2e", "0" * 31, "Z" * 32, "0" * 32])
def test_unknown_and_crooked_ids_are_404(client: TestClient, name: str) -> None:
    assert client.head(f"/uploads/{name}", headers=TUS).status_code in (404, 405)


def test_an_extension_that_is_none_is_dropped(client: TestClient, czi: Path) -> None:
    body = czi.read_bytes()
    url = create(client, len(body), "../../x")
    slide = store.get_slide(patch(client, url, 0, body).headers["x-slide-id"])
    assert Path(slide.path).name == "slide"


def test_a_part_of_a_slide_is_refused(client: TestClient) -> None:
    meta = f"extension {base64.b64encode(b'MRXS').decode()}"
    answer = client.post("/uploads", headers=TUS | {"Upload-Length": "5", "Upload-Metadata": meta})
    assert answer.status_code == 400
    assert "several files" in answer.json()["error"]
    assert leftovers() == []


def test_old_uploads_are_swept_and_fresh_ones_kept(client: TestClient, czi: Path) -> None:
    old, fresh = create(client, 10_000), create(client, 10_000)
    folder = settings().uploads_dir / old.rsplit("/", 1)[1]
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    assert upload_files.sweep() == 1
    assert client.head(old, headers=TUS).status_code == 404
    assert client.head(fresh, headers=TUS).status_code == 200


@pytest.mark.parametrize(
    ("head", "is_slide"),
    [
        (b"ZISRAWFILE" + bytes(200), True),
        (b"II*\0" + bytes(200), True),
        (b"MM\0*" + bytes(200), True),
        (b"II+\0" + bytes(200), True),
        (b"\x89PNG\r\n\x1a\n", True),
        (b"\xff\xd8\xff\xe0", True),
        (bytes(128) + b"DICM", True),
        (bytes(127) + b"DICM", False),
        (b"PK\x03\x04", False),
        (b"", False),
    ],
)
def test_first_bytes(tmp_path: Path, head: bytes, is_slide: bool) -> None:
    path = tmp_path / "f"
    path.write_bytes(head)
    assert upload_files.is_slide_file(path) is is_slide
    assert not upload_files.is_slide_file(tmp_path / "absent")
