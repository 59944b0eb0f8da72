"""One decoding process as its parent sees it: calls with a deadline, pixels through shared memory."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import tempfile
import threading
import weakref
from pathlib import Path

from cmlcore.errors import InputError, SlideError
from cmlcore.settings import settings
from cmlcore.slides.facts import info_from_json
from cmlcore.slides.wire import SLOTS, Head, Sender, receive

KEEP_SLOT_BYTES = 32 << 20  # a slot's memory beyond this is given back after the call
START_S = 20.0  # added to the deadline of the first call: interpreter start on a busy machine

_ROOT = Path(__file__).resolve().parents[2]
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
Answers = queue.SimpleQueue[tuple[Head, bytes] | None]


class DiedError(Exception):
    """The decoding process is gone; the text says why, for a sentence."""


class DecodingProcess:
    """One decoding process with its slots of shared memory."""

    def __init__(self, path: Path) -> None:
        config = settings()
        self.owner = os.getpid()
        self.deadline_s = config.decode_timeout_s
        self.busy = 0
        self._memory = config.decode_memory_bytes
        self._files = [_anonymous_file() for _ in range(SLOTS)]
        weakref.finalize(self, _close, self._files)
        self._slots: queue.LifoQueue[int] = queue.LifoQueue()
        for k in range(SLOTS):
            self._slots.put(k)
        self._lock = threading.Lock()
        self._calls: dict[int, Answers] = {}
        self._next = 0
        self._dead = ""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cmlcore.slides.child", *map(str, self._files)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=self._files,
            env=_environment(),
            cwd="/",
            start_new_session=True,
        )
        assert self._process.stdin is not None  # noqa: S101  a pipe
        self._sender = Sender(self._process.stdin)  # type: ignore[arg-type]
        threading.Thread(target=self._listen, name="slide-listener", daemon=True).start()
        opening = {"op": "open", "path": str(path), "memory": self._memory, "timeout": self.deadline_s}
        try:
            head, _ = self.call(opening, 0, self.deadline_s + START_S)
        except (SlideError, DiedError):
            self.kill()
            raise
        self.info = info_from_json(head["info"])

    @property
    def alive(self) -> bool:
        """Whether calls can be made, from this very process (not from a fork of it)."""
        return not self._dead and self.owner == os.getpid()

    def call(
        self, head: Head, pixel_bytes: int, deadline_s: float | None = None
    ) -> tuple[Head, bytes | bytearray]:
        """Ask, wait, answer. Pixels come back as the body. The deadline starts anew at each sign of life.

        Raises:
            SlideError: what the process says about the slide.
            DiedError: it died or ran past the deadline, and is gone.

        """
        slot = self._slots.get()
        answers: Answers = queue.SimpleQueue()
        try:
            number = self._register(answers)
            if pixel_bytes:
                os.ftruncate(self._files[slot], max(pixel_bytes, os.fstat(self._files[slot]).st_size))
            with contextlib.suppress(OSError, ValueError):  # a dead process is told by the listener
                self._sender.send(head | {"id": number, "slot": slot})
            reply, body = self._wait(answers, deadline_s or self.deadline_s)
            if "error" in reply:
                kind = InputError if reply["error"] == "input" else SlideError
                raise kind(str(reply["message"]))
            return reply, self._pixels(slot, pixel_bytes) if pixel_bytes else body
        finally:
            with self._lock:
                self._calls.pop(number, None)
                self.busy -= 1
            self._slots.put(slot)

    def kill(self, why: str = "was closed") -> None:
        """End the process at once; calls under way see it die."""
        with self._lock:
            self._dead = self._dead or why
        if self.owner == os.getpid():
            self._process.kill()

    def _register(self, answers: Answers) -> int:
        with self._lock:
            self.busy += 1
            self._next += 1
            self._calls[self._next] = answers
            if self._dead:
                answers.put(None)
            return self._next

    def _wait(self, answers: Answers, deadline_s: float) -> tuple[Head, bytes | bytearray]:
        while True:
            try:
                message = answers.get(timeout=deadline_s)
            except queue.Empty:
                self.kill(f"took longer than {deadline_s:g} s")
                continue  # the listener now tells every call, this one too
            if message is None:
                raise DiedError(self._dead)
            if not message[0].get("tick"):
                return message

    def _pixels(self, slot: int, n: int) -> bytearray:
        data = bytearray(n)
        if os.preadv(self._files[slot], [data], 0) != n:
            self.kill("gave no pixels")
            raise DiedError("gave no pixels")
        if n > KEEP_SLOT_BYTES:
            os.ftruncate(self._files[slot], 0)
        return data

    def _listen(self) -> None:
        """Hand answers to their calls until the process ends; then end every call, and clear up."""
        stream = self._process.stdout
        assert stream is not None  # noqa: S101  a pipe
        while (message := receive(stream)) is not None:  # type: ignore[arg-type]
            number = message[0].get("id")
            with self._lock:
                answers = self._calls.get(number) if isinstance(number, int) else None
            if answers is not None:
                answers.put(message)
        self._process.kill()
        self._process.wait()
        with self._lock:
            self._dead = self._dead or "ended unexpectedly"
            for answers in self._calls.values():
                answers.put(None)
        stream.close()
        with contextlib.suppress(OSError):  # what could not be sent is of no use any more
            self._process.stdin.close()  # type: ignore[union-attr]


def _anonymous_file() -> int:
    """A file without a name, in memory where the system can: gone with its last user, however that ends."""
    if sys.platform == "linux":
        return os.memfd_create("slide-pixels")
    with tempfile.TemporaryFile() as f:
        return os.dup(f.fileno())


def _close(files: list[int]) -> None:
    for fd in files:
        os.close(fd)


def _environment() -> dict[str, str]:
    """What the process needs and no secret of the server's; one thread a library, for the memory limit."""
    kept = {k: os.environ[k] for k in _PASSED_ON if k in os.environ}
    paths = [
        str(_ROOT),
        *(p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if Path(p).is_absolute()),
    ]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return kept | threads | {"PYTHONPATH": os.pathsep.join(paths), "MALLOC_ARENA_MAX": "4"}
