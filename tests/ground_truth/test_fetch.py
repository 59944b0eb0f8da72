from __future__ import annotations

import hashlib
import http.server
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cmlcore.errors import InputError
from cmlcore.ground_truth.fetch import FetchError, fetch, unpacked

BODY = bytes(range(256)) * 5000


class _Server(http.server.ThreadingHTTPServer):
    ranges: list[str | None]
    breaks = 0  # how many answers break off half-way
    resumes = True


class _Answers(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        if self.path != "/file":
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.resumes else 0
        if start >= len(BODY):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(BODY)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        rest = BODY[start:]
        if self.server.breaks:
            self.server.breaks -= 1
            rest = rest[: len(rest) // 2]
        self.wfile.write(rest)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[_Server]:
    s = _Server(("127.0.0.1", 0), _Answers)
    s.ranges = []
    thread = threading.Thread(target=s.serve_forever)
    thread.start()
    yield s
    s.shutdown()
    thread.join()
    s.server_close()


def address(server: _Server, path: str = "/file") -> str:
    return f"http://127.0.0.1:{server.server_address[1]}{path}"


def test_a_file_comes_whole(server, tmp_path):
    seen: list[tuple[int, int | None]] = []
    digest = hashlib.sha256(BODY).hexdigest()
    fetch(address(server), tmp_path / "f", digest, lambda _, done, total: seen.append((done, total)))
    assert (tmp_path / "f").read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert not (tmp_path / "f.part").exists()


def test_a_break_is_taken_up_where_it_was(server, tmp_path):
    server.breaks = 2
    fetch(address(server), tmp_path / "f", hashlib.sha256(BODY).hexdigest())
    half, rest = len(BODY) // 2, len(BODY) - len(BODY) // 2
    assert server.ranges == [None, f"bytes={half}-", f"bytes={half + rest // 2}-"]
    assert (tmp_path / "f").read_bytes() == BODY


def test_a_server_that_cannot_resume_begins_anew(server, tmp_path):
    server.breaks, server.resumes = 1, False
    fetch(address(server), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY


def test_what_came_whole_before_is_not_fetched_again(server, tmp_path):
    (tmp_path / "f.part").write_bytes(BODY)
    fetch(address(server), tmp_path / "f", hashlib.sha256(BODY).hexdigest())
    assert server.ranges == [f"bytes={len(BODY)}-"]
    (tmp_path / "g.part").write_bytes(BODY + b"more")  # another file: it begins anew
    fetch(address(server), tmp_path / "g")
    assert (tmp_path / "g").read_bytes() == BODY


def test_another_file_than_expected_is_refused(server, tmp_path):
    with pytest.raises(FetchError, match="checksum differs"):
        fetch(address(server), tmp_path / "f", "0" * 64)
    assert list(tmp_path.glob("f*")) == []


def test_no_server_and_no_file_are_sentences(server, tmp_path):
    with pytest.raises(FetchError, match="answers 404"):
        fetch(address(server, "/gone"), tmp_path / "f")
    with pytest.raises(FetchError, match="no network"):
        fetch("http://127.0.0.1:9/f", tmp_path / "f")
    with pytest.raises(FetchError, match="no address"):
        fetch("file:///etc/hostname", tmp_path / "f")


def test_archives_in_archives_are_unpacked_and_stay_inside(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "inner.zip", "w") as z:
        z.writestr("deep/c.txt", "c")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        z.writestr("../out.txt", "x")
        z.writestr("b.txt", "b")
        z.write(tmp_path / "inner.zip", "more/inner.zip")
    unpacked(tmp_path / "a.zip", tmp_path / "to" / "here")
    inside = sorted(p.relative_to(tmp_path / "to").as_posix() for p in (tmp_path / "to").rglob("*.*"))
    assert inside == ["here/b.txt", "here/more/inner/deep/c.txt", "here/out.txt"]
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(InputError, match="no ZIP file, or damaged"):
        unpacked(tmp_path / "bad.zip", tmp_path / "to")
