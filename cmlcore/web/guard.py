"""The guard in front of everything: this machine only, no foreign pages, safe headers.

There are no user accounts yet. So the server speaks to its own machine alone, under its own names (which
stops DNS rebinding), and no page of another origin may write (which stops forged requests).
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cmlcore.errors import InputError

LOOPBACK_ONLY = (
    "CMLscope has no user accounts yet, so it serves this computer only; "
    "use the address 127.0.0.1 and reach it from elsewhere through an SSH tunnel."
)
_FOREIGN_HOST = "This server answers under localhost and 127.0.0.1 only; use one of these addresses."
_FOREIGN_ORIGIN = "A page of another site asked for a change; that is refused."
_NAMES = frozenset({"localhost"})
_WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        # What Streamlit's pages need; nothing is loaded from elsewhere.
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
        "frame-ancestors 'none'; base-uri 'self'; object-src 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    name = host.strip("[]").lower()
    if name in _NAMES:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def require_loopback(address: str | None) -> None:
    """Refuse to listen anywhere but on this machine.

    Raises:
        InputError: the address is not a loopback address (None and "" mean all interfaces).

    """
    if not address or not is_loopback(address):
        raise InputError(f"The server cannot listen on {address or 'all interfaces'}: {LOOPBACK_ONLY}")


class Guard:
    """Pure ASGI middleware: refuses what must not pass, adds the security headers to what does."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refused = _refusal(scope)
        if refused is None:
            await self.app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refused})
        else:
            answer = JSONResponse({"error": refused}, status_code=403)
            await answer(scope, receive, _with_headers(send))


def _refusal(scope: Scope) -> str | None:
    headers = Headers(scope=scope)
    client = scope.get("client")
    if client and not is_loopback(client[0]):
        return LOOPBACK_ONLY
    host = headers.get("host", "")
    if not is_loopback(urlsplit(f"//{host}").hostname or ""):
        return _FOREIGN_HOST
    if scope["type"] == "websocket" or scope["method"] in _WRITING:
        origin = headers.get("origin")
        # A browser always sends Origin with these; a shell tool need not.
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return _FOREIGN_ORIGIN
    return None


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
