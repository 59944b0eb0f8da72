"""Messages between a reader and its decoding process: a JSON head, then raw bytes where it announces some."""

from __future__ import annotations

import json
import struct
import threading
from typing import Any, BinaryIO

MAX_HEAD_BYTES = 64 << 20
MAX_BODY_BYTES = 64 << 20
SLOTS = 2  # calls at once in one decoding process, each with shared memory for its pixels

Head = dict[str, Any]


class Sender:
    """Writes whole messages; safe from several threads."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, head: Head, body: bytes = b"") -> None:
        """Write one message; OSError or ValueError if the other side is gone."""
        text = json.dumps(head | {"body": len(body)}).encode()
        with self._lock:
            self._stream.write(struct.pack("<I", len(text)) + text + body)
            self._stream.flush()


def receive(stream: BinaryIO) -> tuple[Head, bytes] | None:
    """Read one message; None at the end of the stream or where it is no message."""
    prefix = _exactly(stream, 4)
    if len(prefix) < 4:
        return None
    (n,) = struct.unpack("<I", prefix)
    if n > MAX_HEAD_BYTES:
        return None
    text = _exactly(stream, n)
    try:
        head = json.loads(text)
    except ValueError:
        return None
    size = head.get("body", 0) if isinstance(head, dict) else None
    if not isinstance(size, int) or not 0 <= size <= MAX_BODY_BYTES:
        return None
    body = _exactly(stream, size)
    return (head, body) if len(text) == n and len(body) == size else None


def _exactly(stream: BinaryIO, n: int) -> bytes:
    """Read n bytes, fewer only at the end of the stream; unbuffered pipes give what they have."""
    parts, missing = [], n
    while missing:
        part = stream.read(missing)
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
