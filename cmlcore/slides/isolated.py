"""Reading a slide through a decoding process, which is killed when it hangs and started again when it dies.

Readers of the same file share one process. At most ``max_open_slides`` processes are kept; the least
recently used idle one makes room, and its readers start another when they are next asked.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cmlcore.errors import SlideDiedError, SlideError
from cmlcore.geometry import Region
from cmlcore.settings import settings
from cmlcore.slides.base import SlideInfo, SlideReader
from cmlcore.slides.process import DecodingProcess, DiedError
from cmlcore.slides.stored import check_request
from cmlcore.slides.wire import Head

CLOSED = "The slide has been closed; open it again."
_T = TypeVar("_T")
_Key = tuple[str, int, int, int]


class _Slide:
    """A file with readers in this process, and its decoding process while there is one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.readers = 0
        self.busy = 0
        self.used = 0.0
        self.process: DecodingProcess | None = None
        self.bad = ""  # the sentence that every further call gets
        self.starting = threading.Lock()

    def call(self, head: Head, pixel_bytes: int = 0) -> tuple[Head, bytes | bytearray]:
        """Ask the process, starting or once restarting it; SlideDiedError when it dies again."""
        return self._twice(lambda process: process.call(head, pixel_bytes))

    def open(self) -> SlideInfo:
        """Start the process, if need be, and give the facts it told."""
        return self._twice(lambda process: process.info)

    def _twice(self, ask: Callable[[DecodingProcess], _T]) -> _T:
        why = ""
        for _ in range(2):
            if self.bad:
                break
            try:
                return ask(self.running())
            except DiedError as e:
                why = str(e)
        self.bad = self.bad or (
            f"Decoding this slide {why}, twice; the file is damaged, "
            "or needs more memory or time than a slide may use."
        )
        raise SlideDiedError(self.bad)

    def running(self) -> DecodingProcess:
        """The live process, started if there is none."""
        with self.starting:
            if self.process is None or not self.process.alive:
                self.process = DecodingProcess(self.path)
                if self.bad:  # closed meanwhile
                    self.process.kill()
            return self.process

    def stop(self) -> None:
        """End the process, if there is one."""
        if self.process is not None:
            self.process.kill()
            self.process = None


class _Pool:
    """The slides open in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slides: dict[_Key, _Slide] = {}

    def join(self, path: Path) -> tuple[_Key, _Slide]:
        """Count a new reader of a file; a file changed on disk is another file."""
        try:
            s = path.stat()
        except OSError as e:
            raise SlideError("The slide file cannot be opened; it is missing or may not be read.") from e
        key = (str(path), s.st_ino, s.st_size, s.st_mtime_ns)
        with self._lock:
            slide = self._slides.setdefault(key, _Slide(path))
            slide.readers += 1
            return key, slide

    def leave(self, key: _Key) -> None:
        """Count a reader out; the last one ends the process."""
        with self._lock:
            slide = self._slides.get(key)
            if slide is None:
                return
            slide.readers -= 1
            if slide.readers <= 0:
                del self._slides[key]
                slide.bad = CLOSED  # a call still under way must not start another process
                slide.stop()

    @contextlib.contextmanager
    def at_work(self, slide: _Slide) -> Iterator[None]:
        """Keep a slide's process from being put away, and put away others' to make room for it."""
        with self._lock:
            slide.busy += 1
            slide.used = time.monotonic()
            if slide.process is None:
                self._make_room()
        try:
            yield
        finally:
            with self._lock:
                slide.busy -= 1

    def _make_room(self) -> None:
        running = [s for s in self._slides.values() if s.process is not None]
        idle = sorted((s for s in running if not s.busy), key=lambda s: s.used)
        for slide in idle[: max(0, len(running) - settings().max_open_slides + 1)]:
            slide.stop()

    def close(self) -> None:
        """End every process."""
        with self._lock:
            for slide in self._slides.values():
                slide.stop()


_pool = _Pool()
atexit.register(_pool.close)


class IsolatedReader(SlideReader):
    """A slide read through a decoding process. Safe to call from several threads; two are served at once."""

    def __init__(self, path: Path) -> None:
        self._key, self._slide = _pool.join(path)
        self._closed = False
        self._covered: dict[int, list[Region]] = {}
        try:
            with _pool.at_work(self._slide):
                self.info = self._slide.open()
        except SlideError:
            self.close()
            raise

    def read(self, scene: int, region_l0: Region, downsample: int = 1) -> NDArray[np.uint8]:
        """See ``SlideReader.read``."""
        h, w = -(-region_l0.h // downsample), -(-region_l0.w // downsample)
        head = self._head("read", scene, region_l0, downsample)
        pixels = self._call(head, h * w * 3)
        return np.frombuffer(pixels, np.uint8).reshape(h, w, 3)

    def read_jpeg(self, scene: int, region_l0: Region, downsample: int, quality: int) -> bytes:
        """The same pixels as ``read``, as JPEG bytes encoded in the decoding process."""
        return bytes(self._call(self._head("jpeg", scene, region_l0, downsample) | {"quality": quality}))

    def covered(self, scene: int) -> list[Region]:
        """See ``SlideReader.covered``."""
        if scene not in self._covered:
            self._check_open()
            with _pool.at_work(self._slide):
                head, _ = self._slide.call({"op": "covered", "scene": scene})
            self._covered[scene] = [Region(*r) for r in head["regions"]]
        return list(self._covered[scene])

    def close(self) -> None:
        """Give the process up; the last reader of a file ends it."""
        if not self._closed:
            self._closed = True
            _pool.leave(self._key)

    def _head(self, op: str, scene: int, r: Region, downsample: int) -> Head:
        check_request(r, downsample)
        return {"op": op, "scene": scene, "region": [r.x, r.y, r.w, r.h], "downsample": downsample}

    def _call(self, head: Head, pixel_bytes: int = 0) -> bytes | bytearray:
        self._check_open()
        with _pool.at_work(self._slide):
            return self._slide.call(head, pixel_bytes)[1]

    def _check_open(self) -> None:
        if self._closed:
            raise SlideError(CLOSED)
