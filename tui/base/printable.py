"""The output of commands and tools as text for the transcript.

Control sequences, which a terminal would have obeyed, are left out, a progress bar is shown in its last
state, and the rest goes through `core.base.sanitize`. Nothing that a terminal would still have shown at the
end is hidden. Not solved: output that moves the cursor between lines is shown as it came.
"""

from __future__ import annotations

import re

from core.base.sanitize import printable

TAB = 4

_SEQUENCES = re.compile(
    "(?:\x1b\\[|\x9b)(?P<csi>[0-?]*[ -/]*(?:[@-~]|\\Z))"  # colors, cursor
    "|(?:\x1b[\\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\\\|\x9c)"  # titles, links
    "|\x1b[ -/]+[0-~]"  # character sets
    "|\x1b[0-OQ-WYZ\\\\`-~]"
)
_INTRODUCERS = re.compile("[\x1b\x90\x98\x9b\x9d-\x9f]")
_TO_FIRST_COLUMN = ("G", "1G")


def without_sequences(text: str) -> str:
    """`text` without control sequences; a jump to the first column becomes a CR."""
    if _INTRODUCERS.search(text) is None:
        return text
    return _SEQUENCES.sub(lambda found: "\r" if found["csi"] in _TO_FIRST_COLUMN else "", text)


def readable(text: str) -> str:
    """`text` as a terminal would have left it, without colors: printable, tabs expanded."""
    text = without_sequences(text)
    if "\r" in text or "\b" in text:
        text = "\n".join([_last_state(line) for line in text.split("\n")])
    return printable(text).expandtabs(TAB)


def one_line(text: str, limit: int = 500) -> str:
    """The first `limit` characters of `text` on one line, with `↵` for each line break."""
    text = readable(text[: 4 * limit]).strip()
    return " ".join(" ↵ ".join(text.split("\n")).split())[:limit]


def _last_state(line: str) -> str:
    states = line.rstrip("\r").split("\r")
    last = next((state for state in reversed(states) if state.strip()), "")
    if "\b" not in last:
        return last
    left: list[str] = []
    for character in last:
        if character != "\b":
            left.append(character)
        elif left:
            left.pop()
    return "".join(left)
