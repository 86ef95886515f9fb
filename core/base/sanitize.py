"""Make text of others safe to print on a terminal.

A model's text is data. It must not become a control sequence, change the direction of the line, or contain
characters whose width the terminal counts differently. Everything that a front end shows goes through
`printable` (whole texts) or `PrintableStream` (slices), every link target through `hyperlink_target`.

Text without anything suspicious is recognised by one built-in call, so that it stays fast.
"""

from __future__ import annotations

import re

REPLACEMENT = "\ufffd"

_EMOJI = "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a-\u23ff\u2600-\u27bf\u2934-\u2bff"
_EMOJI += "\U0001f000-\U0001fbff"
_MODIFIER = "\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff"
_TAG = "\U000e0020-\U000e007f"

# Sequences that are kept whole: joined emoji, and flags that are spelled with tags.
_CLUSTER = (
    f"[{_EMOJI}][{_MODIFIER}]*(?:\u200d[{_EMOJI}][{_MODIFIER}]*)+"
    f"|\U0001f3f4[{_TAG}]{{1,16}}"
    "|\r\n"
    "|[\ud800-\udbff][\udc00-\udfff]"
)
_REFUSED = (
    "[\x00-\x08\x0b-\x1f\x7f]"  # C0 and DEL
    "|[\x80-\x9f]"  # C1
    "|[\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"  # lone surrogates, noncharacters
    "|[\u202a-\u202e\u2066-\u2069]"  # direction embeddings, overrides, isolates
    "|[\u2028\u2029]"  # line and paragraph separator
    "|[\u061c\u200e\u200f]"  # direction marks
    "|[\u00ad\u034f\u180e\u200b\u200d\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb]"  # invisible
    "|[\u115f\u1160\u3164\uffa0]"  # fillers: blank, and of disputed width
    "|[\U000e0000-\U000e007f]"  # tags
)
_SCAN = re.compile(f"({_CLUSTER})|{_REFUSED}")
# The end of a slice whose meaning the next slice may still change.
_UNDECIDED = re.compile(f"(?:\r|[\ud800-\udbff]|[{_EMOJI}][{_EMOJI}{_MODIFIER}{_TAG}\u200d]*)\\Z")
_UNDECIDED_LIMIT = 64

# Refused letters and marks that `str.isprintable` lets pass.
_BLANK_LETTERS = "\u034f\u115f\u1160\u3164\uffa0"

_SHOWN_AS_REPLACEMENT = re.compile(
    "[\x80-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)
_TARGET = re.compile(r"(?:https?://|mailto:)[!#-;=?-\[\]_a-z~]{1,2000}", re.IGNORECASE)


def _picture(found: re.Match[str]) -> str:
    kept: str | None = found.group(1)
    if kept is not None:
        if kept == "\r\n":
            return "\n"
        if "\ud800" <= kept[0] <= "\udbff":
            whole = kept.encode("utf-16", "surrogatepass").decode("utf-16")
            return _SCAN.sub(_picture, whole)
        return kept
    character = found.group()
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if character in "\u2028\u2029":
        return "\n"
    return REPLACEMENT if _SHOWN_AS_REPLACEMENT.match(character) else ""


def printable(text: str) -> str:
    """`text` with nothing but newlines, tabs and printable characters.

    Control characters become their pictures (ESC is shown as `␛`); CR LF and the Unicode line separators
    become a newline. C1 controls, lone surrogates, noncharacters and direction overrides become U+FFFD, so
    that they are visible. Direction marks, zero-width characters, fillers, soft hyphens and stray tags are
    removed; a zero-width joiner stays only between emoji. Not solved: Indic text loses the joiners that only
    refine its shapes, and two emoji that no font joins are measured as one.
    """
    if text.replace("\n", "").replace("\t", "").isprintable() and not any(
        map(text.__contains__, _BLANK_LETTERS)
    ):
        return text
    return _SCAN.sub(_picture, text)


class PrintableStream:
    """`printable` for text that arrives in slices.

    The results of `feed` and `close`, joined, equal `printable` of the whole text. At most 64 characters are
    held back: a CR, half of a surrogate pair, or an emoji that the next slice may continue.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        text = self._held + text
        self._held = ""
        if text.isascii() and not text.endswith("\r"):
            return printable(text)
        undecided = _UNDECIDED.search(text, max(0, len(text) - _UNDECIDED_LIMIT))
        if undecided:
            self._held = undecided.group()
            text = text[: undecided.start()]
        return printable(text)

    def close(self) -> str:
        """The characters that were held back. The stream can be used again."""
        held, self._held = self._held, ""
        return printable(held)


def hyperlink_target(url: str) -> str | None:
    """`url` if it may be a link of the terminal (OSC 8), else None: http, https and mailto, ASCII only."""
    return url if _TARGET.fullmatch(url) else None
