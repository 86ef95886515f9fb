"""The fetch of `web_fetch`, in a process of its own; see `core.tools.child_process`.

The resolver, a socket, an archive bomb and a parser of foreign pages: whichever of them hangs or breaks, it
is this process that is killed, and its sockets close with it. Each phase has a limit of its own, kept by a
thread that ends the process. It must never follow an address to another host: that is asked about first.

It prints how far it is, line by line, and last a `Page` with its text. If there is no page, it fails, and the
last line says why.
"""

from __future__ import annotations

import html
import json
import os
import re
import sys
import threading
from enum import Enum
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import httpx
from html_to_markdown import ConversionOptions, convert

from core.tools.web_page import Fetch, Page

if TYPE_CHECKING:
    from collections.abc import Mapping

BODY_BYTES = 5 * 1024 * 1024
"""Of a longer page only the beginning is read."""
TEXT_BYTES = 80 * 1024
"""Of a longer text only the beginning is given."""
USER_AGENT = "Mozilla/5.0 (compatible; Caesura; terminal assistant)"


class Phase(Enum):
    """The phases of a fetch, with the longest time for each in seconds."""

    CONNECT = ("connecting", 15.0)
    HEAD = ("waiting for the answer", 30.0)
    BODY = ("reading the page", 60.0)
    TEXT = ("making text of it", 20.0)


class FetchError(Exception):
    """The page cannot be had; the message is for the model."""


class _Watch:
    """Ends the process if a phase takes too long: what the main thread hangs in may not be interruptible."""

    def __init__(self) -> None:
        self._host = ""
        self._phase = Phase.CONNECT
        self._timer = threading.Timer(0, self._give_up)

    def connect(self, host: str) -> None:
        """A new request begins."""
        self._host = host
        self.enter(Phase.CONNECT)

    def enter(self, phase: Phase) -> None:
        words, limit = phase.value
        print(f"{self._host}: {words}", flush=True)
        self._phase = phase
        self._timer.cancel()
        self._timer = threading.Timer(limit, self._give_up)
        self._timer.daemon = True
        self._timer.start()

    def trace(self, event: str, _: Mapping[str, object]) -> None:
        """For httpcore, which calls it at each of its steps."""
        if event.endswith(".send_request_headers.started") and self._phase is Phase.CONNECT:
            self.enter(Phase.HEAD)

    def _give_up(self) -> None:
        words, limit = self._phase.value
        print(f"{self._host} was given up after {limit:.0f} s of {words}.", flush=True)
        os._exit(1)


def main(request: str) -> None:
    """Fetch the page that `request` describes in JSON, and print it."""
    try:
        page, text = get(Fetch(**json.loads(request)))
    except FetchError as error:
        sys.exit(str(error))
    print(page.print(text), flush=True)


def get(fetch: Fetch) -> tuple[Page, str]:
    """Fetch an address, following it within its host. Raises `FetchError`."""
    url, left = fetch.url, fetch.redirects
    watch = _Watch()
    # Its own time limits are per read; those of `_Watch` are for all of a phase.
    with httpx.Client(timeout=None, headers={"user-agent": USER_AGENT}) as client:
        while True:
            watch.connect(urlsplit(url).netloc)
            try:
                with client.stream("GET", url, extensions={"trace": watch.trace}) as response:
                    target = _target(response, url)
                    if not target:
                        return _page(response, url, watch)
            except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
                raise FetchError(f"{url} cannot be fetched: {_why(error)}.") from error
            if not left:
                raise FetchError(f"{fetch.url} was redirected too often, at last to {target}.")
            left -= 1
            if not same_host(url, target):
                return Page(url, response.status_code, "", leads_to=target, redirects=left), ""
            url = target


def _why(error: Exception) -> str:
    words = str(error) or type(error).__name__
    if re.search(r"Name or service|nodename|getaddrinfo|name resolution|No address", words):
        return "the name of its host is not known"
    return words.rstrip(".")


def _target(response: httpx.Response, url: str) -> str:
    """Where a redirection leads, or empty."""
    location: str = response.headers.get("location", "")
    if response.status_code not in (301, 302, 303, 307, 308) or not location:
        return ""
    target = urljoin(url, location)
    if urlsplit(target).scheme not in ("http", "https") or "@" in urlsplit(target).netloc:
        raise FetchError(f"{url} leads to {target[:200]}, which is no web address to follow.")
    return target


def same_host(one: str, other: str) -> bool:
    """Whether the second address is of the same host, and not less safe than the first."""
    a, b = urlsplit(one), urlsplit(other)
    safer = (a.scheme, b.scheme) != ("https", "http")
    return a.hostname == b.hostname and safer and (a.port == b.port or a.port is b.port is None)


def _page(response: httpx.Response, url: str, watch: _Watch) -> tuple[Page, str]:
    watch.enter(Phase.BODY)
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if re.match(r"(image|audio|video|font)/|application/(pdf|zip|gzip|octet-stream|x-tar)", kind):
        raise FetchError(f"{url} is {kind}, not text. Save it with shell and curl, and use a program for it.")
    body, whole = bytearray(), True
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > BODY_BYTES:
            whole = False
            break
    watch.enter(Phase.TEXT)
    if b"\0" in body[:1024] and "charset" not in response.headers.get("content-type", ""):
        raise FetchError(f"{url} is binary, not text. Save it with shell and curl, and use a program for it.")
    title, text = _text(bytes(body[:BODY_BYTES]), kind, response.charset_encoding)
    notes = [] if whole else [f"only the first {BODY_BYTES // 2**20} MiB of the page were read"]
    encoded = text.encode("utf-8", "replace")
    if len(encoded) > TEXT_BYTES:
        text = encoded[:TEXT_BYTES].decode("utf-8", "ignore")
        notes.append(f"{len(encoded) - TEXT_BYTES:,} bytes of text left out")
    return Page(url, response.status_code, kind or "text", title, note="; ".join(notes)), text


def _text(body: bytes, kind: str, charset: str | None) -> tuple[str, str]:
    """Title and text; the title is empty if it is no HTML."""
    is_html = "html" in kind or (not kind and body.lstrip()[:1] == b"<")
    if charset is None:
        named = (
            re.search(rb"""<meta[^>]{1,200}charset=["']?([\w-]{1,40})""", body[:4096]) if is_html else None
        )
        charset = named[1].decode() if named else "utf-8"
    try:
        text = body.decode(charset, "replace")
    except LookupError:
        text = body.decode("utf-8", "replace")
    if not is_html:
        return "", text
    found = re.search(r"<title[^>]*>([^<]*)", text[:100_000], re.IGNORECASE)
    title = " ".join(html.unescape(found[1]).split())[:300] if found else ""
    # Pictures that are spelled out in the page are long and say nothing.
    text = re.sub(r"""(=["'])data:[^"']{100,}""", r"\1data:", text)
    options = ConversionOptions(autolinks=False, extract_metadata=False)
    return title, (convert(text, options).content or "").strip()
