"""Addresses of the same server at which its interface may be: with another path, and nowhere else (P9)."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

_OF_REQUESTS = (
    "/chat/completions",
    "/completions",
    "/responses",
    "/messages",
    "/models",
    "/api/chat",
    "/api/tags",
)
"""Ends of addresses that are those of one request."""


def other_addresses(api_base: str, protocol: str) -> tuple[str, ...]:
    """The addresses to try in place of `api_base`, the likeliest first."""
    parts = urlsplit(api_base)
    path = parts.path.rstrip("/")
    for end in _OF_REQUESTS:
        path = path.removesuffix(end)
    if protocol in ("ollama", "ollama_chat", "anthropic"):
        paths = [path, path.removesuffix("/v1").removesuffix("/api")]
    else:
        paths = [path, path.removesuffix("/v1") if path.endswith("/v1") else f"{path}/v1", "/v1"]
    found = (urlunsplit((parts.scheme, parts.netloc, each, parts.query, "")) for each in paths)
    return tuple(each for each in dict.fromkeys(found) if each != api_base.rstrip("/"))
