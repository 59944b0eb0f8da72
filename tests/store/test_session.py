"""The schema: migrations against the tables, several processes at once, transactions."""

import multiprocessing as mp
import os
import sqlite3
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from cmlcore import store
from cmlcore.errors import StorageError
from cmlcore.settings import settings
from cmlcore.store.session import HEAD, MIGRATIONS, engine, migrate
from cmlcore.store.tables import Base


def _head_schema(home: str, gate: "mp.synchronize.Event", out: "mp.Queue[str]") -> None:
    os.environ["CML_HOME"] = home
    settings.cache_clear()
    gate.wait()
    try:
        store.ensure_schema()
        out.put("ok")
    except BaseException as e:  # noqa: BLE001 - handed to the parent, which asserts on it
        out.put(repr(e))


def test_migrations_give_exactly_the_tables() -> None:
    store.ensure_schema()
    with engine().connect() as c:
        context = MigrationContext.configure(c, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_head_is_the_newest_migration() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == HEAD


def test_down_to_nothing_and_up_again() -> None:
    store.ensure_schema()
    for target, tables in (("base", set()), ("head", {"slides", "runs", "trainings"})):
        with engine().execution_options(cml_write=True).begin() as c:
            migrate(c, target)
        assert set(inspect(engine()).get_table_names()) - {"alembic_version"} == tables


def test_three_processes_make_the_schema_at_once(cml_home: Path) -> None:
    ctx = mp.get_context("spawn")
    gate, out = ctx.Event(), ctx.Queue()
    crowd = [ctx.Process(target=_head_schema, args=(str(cml_home), gate, out)) for _ in range(3)]
    for p in crowd:
        p.start()
    gate.set()
    assert [out.get(timeout=60) for _ in crowd] == ["ok"] * 3
    for p in crowd:
        p.join()
    assert store.list_slides() == []


def test_sqlite_is_in_wal_mode_with_foreign_keys(cml_home: Path) -> None:
    store.ensure_schema()
    with store.session() as s:
        pragmas = [
            s.execute(text(f"PRAGMA {p}")).scalar() for p in ("journal_mode", "foreign_keys", "busy_timeout")
        ]
    assert pragmas == ["wal", 1, 15_000]


def test_a_transaction_that_fails_leaves_nothing() -> None:
    store.ensure_schema()

    def fail() -> None:
        with store.session(write=True) as s:
            s.execute(text("CREATE TABLE extra (a INTEGER)"))
            s.execute(text("INSERT INTO extra VALUES (1)"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert "extra" not in inspect(engine()).get_table_names()


def test_writers_wait_for_each_other(tmp_path: Path) -> None:
    """Eight threads count up one row: no update is lost and none fails with “database is locked”."""
    store.ensure_schema()
    slide = store.add_slide(tmp_path / "x", size_bytes=0, imported_in_place=True)

    def count() -> None:
        for _ in range(25):
            with store.session(write=True) as s:
                row = s.get(store.Slide, slide.id)
                assert row is not None
                row.size_bytes += 1

    crowd = [threading.Thread(target=count) for _ in range(8)]
    for t in crowd:
        t.start()
    for t in crowd:
        t.join()
    assert store.get_slide(slide.id).size_bytes == 200


def test_an_unwritable_home_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("CML_HOME", str(blocker / "home"))
    settings.cache_clear()
    with pytest.raises(StorageError, match="CML_HOME"):
        store.ensure_schema()


def test_a_full_disk_is_one_sentence(cml_home: Path) -> None:
    store.ensure_schema()
    engine().dispose()
    path = cml_home / "cmlscope.sqlite"
    with sqlite3.connect(path) as c:
        pages = c.execute("PRAGMA page_count").fetchone()[0]

    def fill() -> None:
        with store.session(write=True) as s:
            s.execute(text(f"PRAGMA max_page_count = {pages}"))  # SQLite's own way to say the disk is full
            for i in range(400):
                s.execute(text(f"CREATE TABLE t{i} (a TEXT)"))

    with pytest.raises(StorageError, match="full"):
        fill()
