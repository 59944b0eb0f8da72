"""The decoding process: ``python -m cmlcore.slides.child FD FD``. It may die; nobody else does.

It opens one slide, answers calls on stdin and stdout with two threads, writes pixels into the two shared
memory files given by number, and leaves when its parent does. It says nothing elsewhere: what native
libraries print can hold file names.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import cv2

from cmlcore.errors import CmlError, InputError, SlideError
from cmlcore.geometry import Region
from cmlcore.slides.facts import info_to_json
from cmlcore.slides.local import open_local
from cmlcore.slides.pixels import jpeg
from cmlcore.slides.stored import StoredReader
from cmlcore.slides.wire import SLOTS, Head, Sender, receive

PARENT_CHECK_S = 5  # in case a copy of our pipe, kept by some other process, hides the parent's end
UNEXPECTED = 70  # exit status on an exception that no backend foresaw


class _Server:
    def __init__(self, sender: Sender, slots: list[int], grace_s: int) -> None:
        self.sender = sender
        self.slots = slots
        self.grace_s = grace_s
        self.busy = 0
        self.lock = threading.Lock()
        self.local = threading.local()
        self.reader: StoredReader | None = None

    def answer(self, head: Head) -> None:
        """Work off one call and send its answer."""
        self.local.call = head["id"]
        self._alarm(+1)
        body = b""
        try:
            reply, body = self._work(head)
        except CmlError as e:
            reply = {"error": "input" if isinstance(e, InputError) else "slide", "message": str(e)}
        except MemoryError:
            reply = {"error": "slide", "message": "The slide needs more memory to decode than it may use."}
        self._alarm(-1)
        self.sender.send(reply | {"id": head["id"]}, body)

    def _work(self, head: Head) -> tuple[dict[str, Any], bytes]:
        if head["op"] == "open":
            self.reader = open_local(Path(head["path"]))
            self.reader.tick = self._tick
            return {"info": info_to_json(self.reader.info)}, b""
        if self.reader is None:
            raise SlideError("The slide is not open.")
        if head["op"] == "covered":
            return {"regions": [[r.x, r.y, r.w, r.h] for r in self.reader.covered(head["scene"])]}, b""
        rgb = self.reader.read(head["scene"], Region(*head["region"]), head["downsample"])
        if head["op"] == "jpeg":
            return {}, jpeg(rgb, head["quality"])
        os.pwrite(self.slots[head["slot"]], rgb.data.cast("B"), 0)
        return {}, b""

    def _tick(self) -> None:
        self._alarm(0)
        self.sender.send({"id": self.local.call, "tick": True})

    def _alarm(self, change: int) -> None:
        """(Re)set the last resort: the kernel ends us if native code hangs and the parent cannot."""
        with self.lock:
            self.busy += change
            signal.alarm(self.grace_s if self.busy else 0)


def _limit(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _own_streams() -> tuple[BinaryIO, BinaryIO]:
    """Take stdin and stdout for ourselves and leave the null device in their places."""
    stdin, stdout = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    return stdin, stdout


def _leave_on_error(done: Future[None]) -> None:
    if done.exception() is not None:
        os._exit(UNEXPECTED)


def main() -> None:
    """Serve until the parent closes our stdin or is gone."""
    slots = [int(a) for a in sys.argv[1 : 1 + SLOTS]]
    stdin, stdout = _own_streams()
    parent = os.getppid()
    cv2.setNumThreads(1)
    first = receive(stdin)
    if first is None:
        os._exit(0)
    _limit(first[0]["memory"])
    server = _Server(Sender(stdout), slots, grace_s=int(2 * first[0]["timeout"]) + 10)
    pool = ThreadPoolExecutor(SLOTS)
    pool.submit(server.answer, first[0]).add_done_callback(_leave_on_error)
    while True:
        ready, _, _ = select.select([stdin], [], [], PARENT_CHECK_S)
        message = receive(stdin) if ready else None
        if message is not None:
            pool.submit(server.answer, message[0]).add_done_callback(_leave_on_error)
        elif ready or os.getppid() != parent:
            os._exit(0)


if __name__ == "__main__":
    main()
