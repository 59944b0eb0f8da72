"""The guard: this machine only, its own names only, no foreign page may write, safe headers on everything."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from cmlcore.errors import InputError
from cmlcore.web.guard import LOOPBACK_ONLY, SECURITY_HEADERS, is_loopback, require_loopback

from .conftest import application


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST", "::ffff:127.0.0.1"]
)
def test_loopback_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1.example.org", "", "localhost."]
)
def test_other_names(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("address", [None, "", "0.0.0.0", "192.168.1.5", "unix:///tmp/x"])
def test_listening_elsewhere_is_refused_with_the_reason(address: str | None) -> None:
    with pytest.raises(InputError, match="no user accounts yet"):
        require_loopback(address)
    require_loopback("127.0.0.1")


def test_headers_are_on_good_and_bad_answers(client: TestClient) -> None:
    for answer in (client.options("/uploads"), client.get("/slides/none/0.json"), client.get("/nowhere")):
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value
    assert "frame-ancestors 'none'" in SECURITY_HEADERS["Content-Security-Policy"]


def test_a_client_elsewhere_is_refused(cml_home: object) -> None:
    outside = TestClient(application(), base_url="http://localhost", client=("10.1.2.3", 4000))
    answer = outside.options("/uploads")
    assert answer.status_code == 403
    assert answer.json() == {"error": LOOPBACK_ONLY}


def test_a_foreign_host_name_is_refused(client: TestClient) -> None:
    assert client.options("/uploads", headers={"Host": "evil.example:8501"}).status_code == 403
    assert client.options("/uploads", headers={"Host": "[::1]:8501"}).status_code == 204


def test_a_foreign_page_may_not_write(client: TestClient) -> None:
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "5"}
    for origin in ("https://evil.example", "http://localhost:9999", "null"):
        answer = client.post("/uploads", headers=headers | {"Origin": origin})
        assert answer.status_code == 403
        assert "another site" in answer.json()["error"]
    assert client.post("/uploads", headers=headers | {"Origin": "http://localhost"}).status_code == 201


def test_a_foreign_page_gets_no_websocket(client: TestClient) -> None:
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/_stcore/stream", headers={"Origin": "https://evil.example"}),
    ):
        pass
