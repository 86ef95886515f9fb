"""Text of servers in our errors: shortened, made safe to show, and without keys.

Servers echo keys, pages of markup and control characters. None of that may reach the screen or the log.
"""

from __future__ import annotations

import ast
import base64
import json
import re
from functools import lru_cache
from urllib.parse import quote, quote_plus

from core.base.secrets import redact_keys

QUOTE_LIMIT = 160
"""Characters of a server's message that an error quotes."""
TEXT_LIMIT = 20_000
"""Characters of an exception's text that are examined; some hold all that a server has sent."""

LIBRARY_PREFIX = re.compile(r"^(?:litellm\.)?(?:\w+(?:Error|Exception)|Timeout)(?: \w+Error)?\s*[:-]\s*")
BYTES_LITERAL = re.compile(r"""b'(?:[^'\\]|\\.)*'|b"(?:[^"\\]|\\.)*\"""")
MARKUP = re.compile(r"<[a-zA-Z/!]")
QUOTED_MESSAGE = re.compile(r'"(?:message|error|detail)"\s*:\s*("(?:[^"\\]|\\.)*")')


def scrub(text: str, secrets: tuple[str, ...] = ()) -> str:
    """`text` without keys: those in `secrets`, plain or encoded, and anything that looks like a key."""
    for secret in secrets:
        if len(secret) >= 4:
            text = _spellings(secret).sub("[key]", text)
    return redact_keys(text)


@lru_cache(maxsize=16)
def _spellings(secret: str) -> re.Pattern[str]:
    """Matches the key as it is, and as servers write it into addresses, JSON and headers."""
    plain = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), secret.encode().hex()}
    plain |= {json.dumps(secret)[1:-1], json.dumps(secret)[1:-1].replace("/", "\\/")}
    found = [re.escape(text) for text in sorted(plain, key=len, reverse=True)]
    for skipped in range(3) if len(secret) >= 8 else ():
        # Base64 of a text that contains the key: the characters at its edges depend on adjacent text.
        encoded = base64.b64encode(b"x" * skipped + secret.encode()).decode()[4:-4]
        found.append(
            rf"[\w+/-]{{0,4}}(?:{re.escape(encoded)}|{re.escape(_url_safe(encoded))})[\w+/=-]{{0,8}}"
        )
    return re.compile("|".join(found))


def _url_safe(encoded: str) -> str:
    return encoded.replace("+", "-").replace("/", "_")


def server_message(chain: tuple[BaseException, ...], secrets: tuple[str, ...]) -> str:
    """The server's own message: short, on one line, without keys, control characters and markup; or ""."""
    for link in chain:
        if "HTTPStatusError" in type(link).__name__:
            continue  # the transport's text, not the server's
        body = getattr(link, "body", None)
        inner = body.get("error") or body if isinstance(body, dict) else None
        message = inner.get("message") or inner.get("detail") if isinstance(inner, dict) else inner
        if not isinstance(message, str):
            message = _message_in(str(link)[:TEXT_LIMIT])
        if message and not MARKUP.search(message):
            return _shorten(scrub(message, secrets))
    return ""


def _message_in(text: str) -> str:
    """The message in litellm's text of an answer: its own prefixes, then a sentence, JSON, or bytes of it."""
    try:
        if literal := BYTES_LITERAL.search(text):
            text = ast.literal_eval(literal[0]).decode("utf-8", "replace")
        if found := QUOTED_MESSAGE.search(text):
            return str(json.loads(found[1], strict=False))
    except (ValueError, SyntaxError):
        return ""
    first_line = text.partition("\n")[0].partition(" Original exception:")[0]
    while (shorter := LIBRARY_PREFIX.sub("", first_line)) != first_line:
        first_line = shorter
    return "" if "litellm" in first_line else first_line


def _shorten(text: str) -> str:
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= QUOTE_LIMIT else line[: QUOTE_LIMIT - 1].rstrip() + "…"
