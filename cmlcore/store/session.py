"""Engines and sessions: SQLite in WAL mode by default, PostgreSQL by URL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from cmlcore.errors import StorageError
from cmlcore.settings import settings

MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = "0002"  # the newest migration
BUSY_MS = 15_000
_SCHEMA_LOCK = 0x434D4C  # advisory lock number on PostgreSQL


def _on_connect(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say, so that DDL takes part in them
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")


def _on_begin(connection: Connection) -> None:
    # A reader that turns writer midway fails at once under WAL; a writer therefore says so from the start.
    write = connection.get_execution_options().get("cml_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


@cache
def _engine(url: str) -> Engine:
    engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _on_connect)
        event.listen(engine, "begin", _on_begin)
    return engine


def engine() -> Engine:
    """The engine of the database in force."""
    return _engine(settings().db_url)


@contextmanager
def session(*, write: bool = False) -> Iterator[Session]:
    """One transaction: committed at the end, rolled back on an exception. Rows stay readable after it.

    Args:
        write: whether rows will be changed; SQLite takes the write lock at the start.

    Raises:
        StorageError: the disk is full, or the database cannot be reached or written.

    """
    bound = engine().execution_options(cml_write=write)
    try:
        with Session(bound, expire_on_commit=False) as s, s.begin():
            yield s
    except OperationalError as e:
        raise StorageError(f"The database cannot be used ({e.orig}); check the disk and the address.") from e


def ensure_schema() -> None:
    """Bring the database to the newest schema; several processes may do so at once.

    Raises:
        StorageError: the data folder or the database cannot be written.

    """
    url = make_url(settings().db_url)
    try:
        if url.get_backend_name() == "sqlite" and url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
            _enter_wal(url.database)
        with (
            engine().execution_options(cml_write=True).begin() as connection
        ):  # the second process waits here
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _SCHEMA_LOCK})
            if _version(connection) != HEAD:
                migrate(connection, "head")
    except (OSError, OperationalError) as e:
        raise StorageError(f"The data folder cannot be written ({e}); free space or set CML_HOME.") from e


def migrate(connection: Connection, target: str) -> None:
    """Bring the database to a migration, upwards or (``base``: to nothing) down, in the open transaction."""
    from alembic import command  # rarely needed, and slow to import
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    (command.downgrade if target == "base" else command.upgrade)(config, target)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _enter_wal(path: str) -> None:
    """Switch to WAL, which the file remembers; SQLite does not wait for others here, so we do."""
    connection = sqlite3.connect(path, timeout=BUSY_MS / 1000)
    try:
        connection.execute("BEGIN EXCLUSIVE")  # waits its turn, and makes the file
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
