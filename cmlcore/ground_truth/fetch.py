"""Files from the network: taken up again where they broke off, checked, and unpacked with care."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

from cmlcore import __version__
from cmlcore.errors import InputError, StorageError

Progress = Callable[[str, int, int | None], None]
"""Called with what is being done, bytes or files done, and of how many (None: unknown)."""
_BLOCK = 1 << 20
_TIMEOUT_S = 30.0
_TRIES = 4


class FetchError(InputError):
    """The network or the server did not give the file."""


def fetch(url: str, path: Path, sha256: str | None = None, progress: Progress | None = None) -> None:
    """Download a file; what came of an earlier, broken-off try is kept and continued.

    Args:
        url: http or https address.
        path: where the file goes; ``<name>.part`` beside it holds what has come so far.
        sha256: hex digest that the file must have; None where its maker gives none.
        progress: called as bytes come in.

    Raises:
        FetchError: no network, the server refuses, or the file is not the expected one.
        StorageError: the disk is full or cannot be written.

    """
    if not url.startswith(("https://", "http://")):
        raise FetchError(f"“{url}” is no address on the network.")
    part = path.with_name(path.name + ".part")
    why: Exception | None = None
    for _ in range(_TRIES):
        try:
            if _more(url, part, progress):
                _settle(part, path, sha256)
                return
        except urllib.error.HTTPError as e:
            raise FetchError(f"The server of {path.name} answers {e.code} ({e.reason}).") from e
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as e:
            why = e
        except OSError as e:
            raise StorageError(f"{path} cannot be written; make room or choose another folder.") from e
    raise FetchError(f"{path.name} could not be fetched: there is no network, or it broke off.") from why


def _more(url: str, part: Path, progress: Progress | None) -> bool:
    """Continue one download; True where all of it is there."""
    part.parent.mkdir(parents=True, exist_ok=True)
    have = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": f"cmlscope/{__version__}"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the scheme was checked
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as e:
        if e.code == 416 and have:  # asked for what lies beyond the end: it was whole, or is another file
            size = e.headers.get("Content-Range", "").rpartition("/")[2]
            if size == str(have):
                return True
            part.unlink()
            return False
        raise
    with answer:
        if answer.status != 206:  # the server begins anew
            have = 0
        length = answer.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        with part.open("ab" if have else "wb") as f:
            while block := answer.read(_BLOCK):
                f.write(block)
                have += len(block)
                if progress is not None:
                    progress("Fetching", have, total)
    return total is None or have >= total


def _settle(part: Path, path: Path, sha256: str | None) -> None:
    if sha256 is not None:
        digest = hashlib.sha256()
        with part.open("rb") as f:
            while block := f.read(_BLOCK):
                digest.update(block)
        if digest.hexdigest() != sha256:
            part.unlink()
            raise FetchError(f"{path.name} is not the expected file (its checksum differs); fetch it again.")
    part.replace(path)


def unpacked(archive: Path, folder: Path, progress: Progress | None = None) -> None:
    """Unpack a ZIP, and the ZIPs in it, below a folder.

    Raises:
        InputError: it is no ZIP, or damaged.
        StorageError: the disk is full or cannot be written.

    """
    try:
        with zipfile.ZipFile(archive) as z:
            members = [m for m in z.infolist() if not m.is_dir()]
            for i, member in enumerate(members):
                z.extract(member, folder)  # drops “..” and drive letters of a member's name itself
                if progress is not None:
                    progress("Unpacking", i + 1, len(members))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as e:
        raise InputError(f"{archive.name} is no ZIP file, or damaged; fetch it again.") from e
    except OSError as e:
        raise StorageError(f"{folder} cannot be written; make room or choose another folder.") from e
    for inner in sorted(folder.rglob("*.zip")):
        unpacked(inner, inner.with_suffix(""), progress)
        inner.unlink()
