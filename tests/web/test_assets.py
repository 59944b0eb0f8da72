"""The built frontend is served under names that hold its content's hash."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cmlcore.errors import InputError
from cmlcore.web import assets

LOCK = assets.DIST.parent / "package-lock.json"


@pytest.fixture
def dist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(assets, "DIST", tmp_path)
    return tmp_path


def test_a_bundle_is_served_for_good(client: TestClient, dist: Path) -> None:
    (dist / "viewer-ABC.js").write_text("export default 1;")
    (dist / "manifest.json").write_text(json.dumps({"viewer": "viewer-ABC.js"}))
    url = assets.bundle_url("viewer")
    answer = client.get(url)
    assert answer.text == "export default 1;"
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "immutable" in answer.headers["cache-control"]


def test_a_new_build_is_seen_at_once(dist: Path) -> None:
    manifest = dist / "manifest.json"
    for name in ("viewer-A.js", "viewer-B.js"):
        draft = dist / "draft"
        draft.write_text(json.dumps({"viewer": name}))
        draft.replace(manifest)
        assert assets.bundle_url("viewer") == f"/assets/{name}"


def test_an_unbuilt_frontend_says_what_to_do(dist: Path) -> None:
    with pytest.raises(InputError, match="make frontend"):
        assets.bundle_url("viewer")


@pytest.mark.parametrize("name", ["manifest.json", "absent.js", "..%2fpackage.json", "%2e%2e"])
def test_nothing_else_is_served(client: TestClient, dist: Path, name: str) -> None:
    (dist / "manifest.json").write_text("{}")
    answer = client.get(f"/assets/{name}")
    assert answer.status_code in (403, 404)
    assert "viewer" not in answer.text


def test_the_lock_names_no_registry() -> None:
    lock = json.loads(LOCK.read_text())
    assert all("resolved" not in package for package in lock["packages"].values())
    assert all("integrity" in package for name, package in lock["packages"].items() if name)
