"""What stands between the network and gradio: which requests are answered, how large they may be, and the headers.

Gradio serves much that this app does not use, parses a request of any size, and answers a malformed one with status
500. `Limits` is ASGI middleware, so that a request is refused before anything parses it.
"""

import errno
import ipaddress
import json
import logging
import math
import re
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

import anyio
from gradio import processing_utils
from gradio.utils import LRUCache
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 128 << 10  # bytes of a request; a recipe with offsets along 512 raw dimensions has 15,000
MAX_UPLOAD = 16 << 20  # bytes of an uploaded file; the WAV of the longest piano pieces has 8 MB
MAX_UPLOADS = 128 << 20  # bytes of all uploads that arrive at one time: they are not yet in the cache, which is bounded
ARRIVAL_SECONDS = 120.0  # that a request may take to arrive: 16 MB at 1.1 Mbit/s
UPLOAD = "/gradio_api/upload"
FRAMING = 4 << 10  # bytes of an upload's request beside those of its file

POSTED_TO = re.compile(
    r"/gradio_api/(run|api|call|queue/join|component_server|upload|cancel|reset)(/.*)?|/gradio_api/mcp/?"
)
# What gradio reads too, but the app does not use: it fetches what others name, writes files, or tells about visitors.
UNUSED = re.compile(
    r"/monitoring.*|/gradio_api/(deep_link|proxy=|file/|runs|run-history|vibe|profiling|dev/|custom_component/).*"
    r"|/gradio_api/file=\s*[a-z][a-z0-9+.-]*:/.*",
    re.IGNORECASE | re.DOTALL,
)
MCP, MCP_SCHEMA = re.compile("/gradio_api/mcp(/.*)?", re.DOTALL), "/gradio_api/mcp/schema"

# Gradio's page has inline scripts and makes functions from text. Spaces show the app in a frame of huggingface.co.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self' https://huggingface.co"
)
FILE_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"  # a file is never a page of this app
# For a part of a file gradio answers with all headers of the request, such as Transfer-Encoding or Set-Cookie.
OF_FILES = re.compile(rb"content-.*|accept-ranges|etag|last-modified|vary|access-control-.*", re.IGNORECASE)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # a link holds a recipe
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}

T = TypeVar("T")

NOT_UNDERSTOOD = "This request cannot be understood."
FULL = "The server's disk is full; try again later."
BUSY = "The server is busy; try again in a moment."


def is_full(error: BaseException) -> bool:
    """Whether an error says that the disk, or the user's share of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address leads to this very machine, on every machine: "localhost", 127.0.0.0/8, ::1."""
    host = host.strip("[]").rstrip(".").lower()
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def fetch_nothing() -> None:
    """Makes gradio refuse to fetch the public address that a request may name in place of an uploaded file."""

    async def refuse(url: str, cache_dir: str) -> str:
        raise ValueError("only uploaded files can be opened, no addresses")

    processing_utils.async_ssrf_protected_download = refuse


class Newest(LRUCache[str, T]):
    """A dictionary of the newest keys. An older key has a new value each time, since gradio's queue would end with the
    KeyError that it met in writing to a session that is no longer kept."""

    def __init__(self, size: int, make: Callable[[], T]) -> None:
        super().__init__(size)
        self._make = make

    def __missing__(self, key: str) -> T:
        return self._make()


class Limits:
    """ASGI middleware that refuses what the app does not need, in one sentence, and adds the security headers.

    Args:
        loopback: the server is for this machine alone, so a page from elsewhere that has its name resolve to this
            machine (DNS rebinding), or sends forms to it, is refused.
    """

    def __init__(self, app: ASGIApp, loopback: bool) -> None:
        self._app, self._loopback, self._arriving = app, loopback, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, begun, replaced, failed, body = scope["path"], False, False, False, None

        async def guarded_send(message: Message) -> None:
            nonlocal begun, replaced, failed
            if message["type"] == "http.response.start":
                begun = True
                if body is not None and body.refused:  # gradio may call this a mistake of another kind
                    replaced = True
                    await _refusal(body.refused)(scope, receive, with_headers)
                elif message["status"] == 500:  # a function refuses; or there is no such function, or a field lacks
                    replaced = failed = True
            elif failed:
                failed = False
                await _refusal(HTTPException(400, _said(message["body"])))(scope, receive, with_headers)
            if not replaced:
                await with_headers(message)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers, is_file = MutableHeaders(scope=message), path.startswith("/gradio_api/file=")
                if is_file:
                    headers.raw[:] = [(name, value) for name, value in headers.raw if OF_FILES.fullmatch(name)]
                headers.update(HEADERS)
                headers["Content-Security-Policy"] = FILE_POLICY if is_file else POLICY
            await send(message)

        try:
            body = self._body(scope, receive)
            await self._app(scope, body, guarded_send)
        except HTTPException as refused:
            if not begun:
                await _refusal(refused)(scope, receive, with_headers)
        except Exception as error:
            if begun:
                raise
            logging.getLogger(__name__).error("%s %r failed", scope["method"], path[:200], exc_info=error)
            answer = HTTPException(507, FULL) if is_full(error) else HTTPException(400, NOT_UNDERSTOOD)
            await _refusal(answer)(scope, receive, with_headers)
        finally:
            if body is not None:
                self._arriving -= body.counted

    def _body(self, scope: Scope, receive: Receive) -> "_Body":
        """The body of a request that may be answered. Raises HTTPException for any other."""
        headers, path = Headers(scope=scope), scope["path"]
        if self._loopback and not _from_this_machine(headers):
            raise HTTPException(403, "This server answers to pages of its own machine alone, at localhost.")
        reading = scope["method"] in ("GET", "HEAD", "OPTIONS")
        if UNUSED.fullmatch(path) or not (reading or POSTED_TO.fullmatch(path)):
            raise HTTPException(404, "There is nothing here.")
        if MCP.fullmatch(path) and scope["method"] != "POST" and path != MCP_SCHEMA:  # streams without an end
            raise HTTPException(405, "MCP is spoken here by POST alone.")
        upload = path.rstrip("/") == UPLOAD
        if headers.get("content-type", "").lower().lstrip().startswith("multipart/") and not upload:
            raise HTTPException(415, "Only files that are opened are sent as a form.")
        limit = MAX_UPLOAD + FRAMING if upload else MAX_BODY
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 20 or int(length) > limit:
            raise too_large(limit)
        return _Body(receive, limit, self._count if upload else None)

    def _count(self, size: int) -> bool:
        """Counts bytes of an upload, if there is room for them."""
        fits = self._arriving + size <= MAX_UPLOADS
        self._arriving += size if fits else 0
        return fits


class _Body:
    """Receives a request's body, and raises HTTPException where it is too large, too slow, or one too many.

    Args:
        limit: in bytes.
        count: takes the bytes of each piece; whether there is room for them.

    Attributes:
        counted: bytes for which there was room.
        refused: what was raised.
    """

    def __init__(self, receive: Receive, limit: int, count: Callable[[int], bool] | None) -> None:
        self._receive, self._limit, self._count = receive, limit, count
        self._received, self._deadline = 0, anyio.current_time() + ARRIVAL_SECONDS
        self.counted = 0
        self.refused: HTTPException | None = None

    async def __call__(self) -> Message:
        with anyio.CancelScope(deadline=self._deadline) as waiting:
            message = await self._receive()
        if waiting.cancelled_caught:
            raise self._refuse(HTTPException(408, "This request takes too long to arrive."))
        size = len(message.get("body", b""))
        self._received += size
        if self._received > self._limit:
            raise self._refuse(too_large(self._limit))
        if self._count:
            if not self._count(size):
                raise self._refuse(HTTPException(503, BUSY))
            self.counted += size
        if not message.get("more_body"):
            self._deadline = math.inf  # what comes now is that the client is gone
        return message

    def _refuse(self, refused: HTTPException) -> HTTPException:
        self.refused = refused
        return refused


def _from_this_machine(headers: Headers) -> bool:
    """Whether a request was made to a loopback name and, as far as a browser says, by a page from one."""
    addresses = [f"//{headers.get('host', '')}"] + ([headers["origin"]] if "origin" in headers else [])
    try:
        return all(is_loopback(urlsplit(address).hostname or "") for address in addresses)
    except ValueError:
        return False


def _said(body: bytes) -> str:
    """The sentence of a function that has refused its arguments; gradio sends no other error's text."""
    try:
        said = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        said = None
    return said if isinstance(said, str) else NOT_UNDERSTOOD


def too_large(limit: int) -> HTTPException:
    """The refusal of a request of more than `limit` bytes."""
    unit, size = ("MB", limit >> 20) if limit >> 20 else ("kB", limit >> 10)
    return HTTPException(413, f"This is too large: at most {size} {unit} are taken.")


def _refusal(refused: HTTPException) -> JSONResponse:
    return JSONResponse({"error": refused.detail, "detail": refused.detail}, refused.status_code)
