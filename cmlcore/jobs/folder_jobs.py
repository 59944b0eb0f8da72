"""Jobs that live as folders under one root: asked for, looked at, cancelled, started again, deleted.

A folder holds ``request.json`` (what was asked), the files of ``cmlcore.job_folder`` (how far it is), and
what the work makes. It is worked off by ``cmlcore.jobs.child.Children``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from cmlcore.errors import InputError, StorageError
from cmlcore.files import NO_SPACE, whole_file
from cmlcore.job_folder import FOLDER_NAME, read_status, request_stop, stop_requested, write_status
from cmlcore.jobs.child import WAITING, State, resume
from cmlcore.store.ids import new_id

REQUEST = "request.json"

R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class FolderJob(Generic[R]):
    """One job: what was asked and how far it is.

    Attributes:
        id: of its folder.
        folder: where it is.
        request: None where the shell made it.
        state: as in ``child``.
        stage: what is being done, in words.
        message: why it failed, else empty.
        done: how much of the stage is done.
        total: of how much; 0 until known.
        left_s: seconds the stage takes yet; None while unknown.
        stopping: whether it is asked to end.
        created: when it was asked for.
        told: everything its status says.

    """

    id: str
    folder: Path
    request: R | None
    state: State
    stage: str
    message: str
    done: int
    total: int
    left_s: float | None
    stopping: bool
    created: datetime
    told: dict[str, Any]

    @property
    def active(self) -> bool:
        """Whether it waits or is at work."""
        return self.state in WAITING


class FolderJobs(Generic[R]):
    """The jobs of one kind.

    ``name`` is what people call one ("bench"), ``result`` the file without which a folder that has no
    status is nothing.
    """

    def __init__(self, name: str, root: Callable[[], Path], request: type[R], result: str) -> None:
        self.name = name
        self.root = root
        self._request = request
        self._result = result

    def submit(self, asked: R, prepare: Callable[[Path], None] | None = None) -> str:
        """Put a job in line; returns its id.

        Args:
            asked: what is wanted, checked.
            prepare: puts files into the folder before the work may begin.

        Raises:
            StorageError: the data folder cannot be written.

        """
        key = new_id()
        folder = self.root() / key
        try:
            folder.mkdir(parents=True)
            if prepare is not None:
                prepare(folder)
            with whole_file(folder / REQUEST) as part:
                part.write_text(asked.model_dump_json(), encoding="utf-8")
            write_status(folder, state="waiting", message="", created=datetime.now(UTC).isoformat())
        except OSError as e:
            shutil.rmtree(folder, ignore_errors=True)
            why = "the disk is full" if e.errno in NO_SPACE else "the data folder cannot be written"
            raise StorageError(f"This {self.name} cannot be stored: {why}.") from e
        return key

    def folder(self, key: str) -> Path:
        """The folder of a job; may not exist.

        Raises:
            InputError: this cannot be the id of one.

        """
        if not FOLDER_NAME.fullmatch(key):
            raise self._none()
        return self.root() / key

    def get(self, key: str) -> FolderJob[R]:
        """One job.

        Raises:
            InputError: there is none of this id.

        """
        found = self._job(self.folder(key))
        if found is None:
            raise self._none()
        return found

    def all(self) -> list[FolderJob[R]]:
        """Every job, also those made in the shell; newest first."""
        root = self.root()
        folders = root.iterdir() if root.is_dir() else ()
        found = [job for f in folders if FOLDER_NAME.fullmatch(f.name) and (job := self._job(f)) is not None]
        return sorted(found, key=lambda job: (job.created, job.id), reverse=True)

    def cancel(self, key: str) -> None:
        """Ask for the end of a job that waits or is at work; of one that is over, nothing changes."""
        if self.get(key).active:
            request_stop(self.folder(key))

    def restart(self, key: str) -> None:
        """Put a failed or cancelled job back in line.

        Raises:
            InputError: it is at work or done, or was made elsewhere.

        """
        job = self.get(key)
        if job.state not in ("failed", "cancelled") or job.request is None:
            raise InputError(f"Only a failed or cancelled {self.name} can be started again.")
        resume(self.folder(key))

    def delete(self, key: str) -> None:
        """Remove a job that is not at work.

        Raises:
            InputError: it is at work; cancel it first.

        """
        if self.get(key).active:
            raise InputError(f"This {self.name} is still at work; cancel it first.")
        shutil.rmtree(self.folder(key), ignore_errors=True)

    def request(self, folder: Path) -> R | None:
        """What was asked for in a folder; None where nobody asked or it cannot be read."""
        try:
            return self._request.model_validate_json((folder / REQUEST).read_text(encoding="utf-8"))
        except (OSError, ValidationError):
            return None

    def asked(self, folder: Path) -> R:
        """What was asked for in a folder, for the child.

        Raises:
            InputError: it cannot be read.

        """
        found = self.request(folder)
        if found is None:
            raise InputError(f"What was asked for cannot be read; ask for a new {self.name}.")
        return found

    def _none(self) -> InputError:
        return InputError(f"There is no such {self.name}; it may have been deleted.")

    def _job(self, folder: Path) -> FolderJob[R] | None:
        status, result = read_status(folder), folder / self._result
        if not status and not result.is_file():
            return None
        made = result.stat().st_mtime if result.is_file() else folder.stat().st_mtime
        created = status.get("created")
        return FolderJob(
            id=folder.name,
            folder=folder,
            request=self.request(folder),
            state=status.get("state", "done"),
            stage=str(status.get("stage", "")),
            message=str(status.get("message", "")),
            done=int(status.get("done", 0)),
            total=int(status.get("total", 0)),
            left_s=status.get("left_s"),
            stopping=stop_requested(folder),
            created=datetime.fromisoformat(created) if created else datetime.fromtimestamp(made, UTC),
            told=status,
        )
