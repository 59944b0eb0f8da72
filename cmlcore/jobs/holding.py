"""What a worker process keeps from batch to batch: loaded models and open slides. And errors put plainly."""

from __future__ import annotations

import importlib
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Protocol, TypeVar, cast

from cmlcore.errors import ModelError, RunError, SlideDiedError, StorageError
from cmlcore.files import FULL, NO_SPACE
from cmlcore.slides import SlideReader, open_slide
from models.base import CellModel

LOADER = "CML_MODEL_LOADER"  # "module:function" in place of the registry's; tests set it

NO_MEMORY = (
    "There was not enough memory; choose a smaller region or batch, or free memory, and resume the run."
)
_KEPT = 4  # as many runs take turns at most; they must not reload each other's models


class _Closable(Protocol):
    def close(self) -> None: ...


_K = TypeVar("_K")
_T = TypeVar("_T")
_lock = Lock()
_models: OrderedDict[tuple[str, str, str, int], CellModel] = OrderedDict()
_readers: OrderedDict[str, SlideReader] = OrderedDict()


def held_model(key: str, sha256: str, device: str, threads: int) -> CellModel:
    """The model, loaded once a process.

    Raises:
        ModelError: it is missing, cannot be loaded, or is not the one with ``sha256``.

    """

    def load() -> CellModel:
        module, _, function = os.environ.get(LOADER, "models.registry:load_model").partition(":")
        model = cast(CellModel, getattr(importlib.import_module(module), function)(key, device, threads))
        if model.sha256 != sha256:
            raise ModelError(
                f"The weights of “{key}” have changed since the run was queued; start a new run."
            )
        return model

    return _held(_models, (key, sha256, device, threads), load)


def held_reader(path: str) -> SlideReader:
    """The open slide, opened once a process; decoding happens in a child of this process.

    Raises:
        SlideError: it cannot be opened.

    """
    return _held(_readers, path, lambda: open_slide(path))


def let_go() -> None:
    """Close every slide and drop every model that this process keeps."""
    with _lock:
        while _readers:
            _readers.popitem()[1].close()
        _models.clear()


def _held(kept: OrderedDict[_K, _T], key: _K, make: Callable[[], _T]) -> _T:
    with _lock:
        if key not in kept:
            while len(kept) >= _KEPT:
                _, old = kept.popitem(last=False)
                if hasattr(old, "close"):
                    cast(_Closable, old).close()
            kept[key] = make()
        kept.move_to_end(key)
        return kept[key]


@contextmanager
def plainly() -> Iterator[None]:
    """Turn what the machine says (no space, no memory) into our own sentences."""
    try:
        yield
    except SlideDiedError:
        with _lock:
            while _readers:
                _readers.popitem()[1].close()  # the next batch starts with a fresh decoder
        raise
    except MemoryError as e:
        raise RunError(NO_MEMORY) from e
    except OSError as e:
        if e.errno in NO_SPACE:
            raise StorageError(FULL) from e
        raise StorageError(f"A file of the run cannot be read or written ({e.strerror}); try again.") from e
    except RuntimeError as e:
        if type(e).__name__ == "OutOfMemoryError":  # torch's own; torch itself must not be imported here
            raise RunError(NO_MEMORY) from e
        raise
