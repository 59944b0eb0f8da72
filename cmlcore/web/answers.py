"""How the routes answer: JSON sentences for errors, cache headers for what never changes."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from cmlcore.errors import CmlError, InputError, ModelError, RunError, SlideError, StorageError

log = logging.getLogger(__name__)

IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable"}
NO_STORE = {"Cache-Control": "no-store"}

Endpoint = Callable[[Request], Awaitable[Response]]


class NotFoundError(InputError):
    """There is no slide, run, cell or upload of that name."""


class TooEarlyError(CmlError):
    """What is asked for is not there yet; asking again later is right."""


# The first match from above holds.
_STATUS: tuple[tuple[type[CmlError], int], ...] = (
    (NotFoundError, 404),
    (TooEarlyError, 409),
    (InputError, 400),
    (SlideError, 422),
    (ModelError, 422),
    (RunError, 409),
    (StorageError, 507),
)


async def home(request: Request) -> Response:  # noqa: ARG001
    """The first page by its name: Streamlit itself knows it by the bare address alone."""
    return RedirectResponse("/", status_code=307)


def refusal(error: CmlError, status: int | None = None) -> JSONResponse:
    """The error's sentence as JSON, with the status that fits its class."""
    fitting = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    return JSONResponse({"error": str(error)}, status_code=status or fitting, headers=NO_STORE)


def answering(endpoint: Endpoint) -> Endpoint:
    """Wrap an endpoint: what it raises from the ladder of errors becomes the answer."""

    @functools.wraps(endpoint)
    async def wrapped(request: Request) -> Response:
        try:
            return await endpoint(request)
        except CmlError as error:
            return refusal(error)

    return wrapped


def not_modified(request: Request, etag: str) -> bool:
    """Whether the browser holds the version ``etag`` already."""
    held = request.headers.get("if-none-match", "")
    return etag in (part.strip() for part in held.split(","))
