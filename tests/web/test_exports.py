"""Downloads are the report's bytes, streamed, as attachments under a neutral name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from cmlcore import RESEARCH_USE, store
from cmlcore.cells import CellTable
from cmlcore.jobs import run_manifest
from cmlcore.report import csv_stream, geojson_stream

from .conftest import add_run


@pytest.mark.parametrize(("kind", "stream"), [("csv", csv_stream), ("geojson", geojson_stream)])
def test_the_download_is_the_report(
    client: TestClient, run: store.Run, kind: str, stream: Callable[..., Iterator[bytes]]
) -> None:
    answer = client.get(f"/exports/{run.id}.{kind}")
    assert answer.status_code == 200
    expected = b"".join(stream(run_manifest(run.id), CellTable(store.run_dir(run.id))))
    assert answer.content == expected
    assert RESEARCH_USE in answer.text
    assert answer.headers["content-disposition"] == f'attachment; filename="cmlscope-{run.id}.{kind}"'
    assert "content-length" not in answer.headers  # streamed


def test_one_row_a_cell(client: TestClient, run: store.Run) -> None:
    lines = [x for x in client.get(f"/exports/{run.id}.csv").text.splitlines() if not x.startswith("#")]
    assert len(lines) == 1 + 230
    features = json.loads(client.get(f"/exports/{run.id}.geojson").text)["features"]
    assert len(features) == 230


def test_an_unfinished_run_has_no_report_yet(client: TestClient, slide: store.Slide) -> None:
    row = add_run(slide, status="running")
    answer = client.get(f"/exports/{row.id}.csv")
    assert answer.status_code == 409
    assert "not finished" in answer.json()["error"]
