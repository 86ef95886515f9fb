"""The full-text search in sessions.

It covers prompts, replies and titles, but not outputs of tools, reasoning and summaries. A search text is
always a list of words: there is no query language, and no text is an error.

Not solved: SQLite's `unicode61` splits texts into words, so in a language without blanks only the beginning
of a run of characters is found. Only the newest `MOST_PLACES` places are searched.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from core.base.values import Value
from core.model.messages import AssistantMessage, UserMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from sqlite3 import Connection

    from core.model.messages import Step

MOST_CHARACTERS = 4_000
"""A longer text is split into several rows, because making a snippet takes time in proportion to its row."""

MOST_PLACES = 5_000
SNIPPET_CHARACTERS = 160
BEFORE = 40
"""Characters of a snippet before the first matching word."""

_REFUSED = re.compile("[\x00\ud800-\udfff]")


class Place(Value):
    """A match in the session numbered `session`; `step` is None for a match in its title."""

    session: int
    step: int | None
    snippet: str
    marks: tuple[tuple[int, int], ...]


def texts_of(step: Step, prompt: str) -> tuple[str, ...]:
    """The texts of a step to search in: the prompt and the reply. `prompt` is without notes."""
    found = []
    for message in step.messages:
        match message:
            case UserMessage(text):
                # The message has notes for the model before the prompt; they are not searched.
                found.append(prompt if prompt and text.endswith(prompt) else text)
            case AssistantMessage():
                found.append(message.text)
    return tuple(found)


def add_texts(connection: Connection, session: int, step: int | None, texts: Iterable[str]) -> None:
    for row in (row for text in texts for row in _rows(_REFUSED.sub(" ", text))):
        cursor = connection.execute("INSERT INTO places (session, step) VALUES (?, ?)", (session, step))
        connection.execute("INSERT INTO search (rowid, text) VALUES (?, ?)", (cursor.lastrowid, row))


def put_title(connection: Connection, session: int, title: str) -> None:
    _remove(connection, "session = ? AND step IS NULL", session)
    add_texts(connection, session, None, (title,))


def remove_texts(connection: Connection, session: int) -> None:
    _remove(connection, "session = ?", session)


def _remove(connection: Connection, which: str, session: int) -> None:
    connection.execute(f"DELETE FROM search WHERE rowid IN (SELECT id FROM places WHERE {which})", (session,))
    connection.execute(f"DELETE FROM places WHERE {which}", (session,))


def find(connection: Connection, text: str, limit: int) -> tuple[Place, ...]:
    """Find the newest place in each session that has all words of `text`, the last one as a prefix.

    Returns at most `limit` places, the newest first.
    """
    query = _query(text)
    if not query:
        return ()
    rows = connection.execute(
        """
        SELECT places.id, session, step FROM search CROSS JOIN places ON places.id = search.rowid
        WHERE search MATCH ? ORDER BY search.rowid DESC LIMIT ?
        """,
        (query, MOST_PLACES),
    )
    newest: dict[int, tuple[int, int | None]] = {}
    for row, session, step in rows:
        newest.setdefault(session, (row, step))
        if len(newest) == limit:
            break
    found = _pattern(text)
    places = []
    for session, (row, step) in newest.items():
        (whole,) = connection.execute("SELECT text FROM search WHERE rowid = ?", (row,)).fetchone()
        places.append(Place(session, step, *_snippet(whole, found)))
    return tuple(places)


def _query(text: str) -> str:
    """Return `text` as a query of FTS5, with each word quoted; empty if there is no word."""
    words = [word for word in _REFUSED.sub(" ", text).split() if any(map(str.isalnum, word))]
    return " ".join('"' + word.replace('"', '""') + '"' for word in words) + ("*" if words else "")


def _pattern(text: str) -> re.Pattern[str]:
    """Return a pattern that finds the words of `text` in a result of `_plain`."""
    words = [re.escape(word) for word in re.findall(r"[^\W_]+", _plain(text))]
    if words:
        words[-1] += r"[^\W_]*"
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(words)})(?![^\W_])")


def _plain(text: str) -> str:
    """Return `text` in lower case and without accents. Each character keeps its offset."""
    return text.lower() if text.isascii() else "".join(map(_plain_character, text))


@lru_cache(maxsize=4_096)
def _plain_character(character: str) -> str:
    plain = unicodedata.normalize("NFD", character)[0].lower()
    return plain if len(plain) == 1 else character


def _snippet(text: str, words: re.Pattern[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return the text around the first match of `words` on one line, and the spans of matches in it."""
    plain = _plain(text)
    first = words.search(plain)
    at = max(0, first.start() - BEFORE) if first else 0
    end = min(len(text), at + SNIPPET_CHARACTERS)
    shown = "…" if at else ""
    marks = []
    for match in words.finditer(plain, at, end):
        shown += _on_one_line(text[at : match.start()], after_blank=not shown or shown.endswith(" "))
        marks.append((len(shown), len(shown) + len(match[0])))
        at = match.end()
        shown += text[match.start() : at]
    shown += _on_one_line(text[at:end], after_blank=not shown or shown.endswith(" ")).rstrip()
    return shown + ("…" if end < len(text) else ""), tuple(marks)


def _on_one_line(text: str, *, after_blank: bool) -> str:
    """Replace each run of blanks, line ends and control characters by one blank."""
    line = re.sub(" +", " ", "".join(char if char.isprintable() else " " for char in text))
    return line.removeprefix(" ") if after_blank else line


def _rows(text: str) -> Iterator[str]:
    """Split `text` into rows of the index, between words if possible."""
    start = 0
    while len(text) - start > MOST_CHARACTERS:
        end = start + MOST_CHARACTERS
        blank = max(text.rfind(" ", start, end), text.rfind("\n", start, end))
        end = blank + 1 if blank >= start else end
        yield text[start:end]
        start = end
    if text[start:].strip():
        yield text[start:]
