"""The full-text search: what of a session can be found, and where words are.

Prompts, replies and titles are found; what tools said, what the model thought and summaries are not. Whatever
somebody types is a question for words, never a query language, and never an error.

Known limits: words are what `unicode61` takes for words, so a language without blanks is found by how a run
of its characters begins. After the newest `MOST_PLACES` places nothing older is looked at.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from core.messages import AssistantMessage, UserMessage
from core.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from sqlite3 import Connection

    from core.messages import Step

MOST_CHARACTERS = 4_000
"""A long text is several rows, for finding a snippet costs as much as its row is long."""

MOST_PLACES = 5_000
SNIPPET_CHARACTERS = 160
BEFORE = 40
"""Characters of a snippet before the first word that was found."""

_REFUSED = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Place:
    """`session` is the number of the session; `step` is None in its title."""

    session: int
    step: int | None
    snippet: str
    marks: tuple[tuple[int, int], ...]


def texts_of(step: Step, prompt: str) -> tuple[str, ...]:
    """What is found of a step: `prompt`, which led to it, as the person wrote it, and the reply."""
    found = []
    for message in step.messages:
        match message:
            case UserMessage(text):
                # The model gets notes before it, which nobody would look for.
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
    """All that is found of a session."""
    _remove(connection, "session = ?", session)


def _remove(connection: Connection, which: str, session: int) -> None:
    connection.execute(f"DELETE FROM search WHERE rowid IN (SELECT id FROM places WHERE {which})", (session,))
    connection.execute(f"DELETE FROM places WHERE {which}", (session,))


def find(connection: Connection, text: str, limit: int) -> tuple[Place, ...]:
    """The newest place of each session that has all words of `text`, the last as a beginning of one.

    The newest comes first; at most `limit`.
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
    """`text` in the language of FTS5: each of its words in quotes. Empty if nothing in it is a word."""
    words = [word for word in _REFUSED.sub(" ", text).split() if any(map(str.isalnum, word))]
    return " ".join('"' + word.replace('"', '""') + '"' for word in words) + ("*" if words else "")


def _pattern(text: str) -> re.Pattern[str]:
    """What finds the words of `text` in a text that went through `_plain`."""
    words = [re.escape(word) for word in re.findall(r"[^\W_]+", _plain(text))]
    if words:
        words[-1] += r"[^\W_]*"
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(words)})(?![^\W_])")


def _plain(text: str) -> str:
    """`text` in small letters and without accents, each character in its place."""
    return text.lower() if text.isascii() else "".join(map(_plain_character, text))


@lru_cache(maxsize=4_096)
def _plain_character(character: str) -> str:
    plain = unicodedata.normalize("NFD", character)[0].lower()
    return plain if len(plain) == 1 else character


def _snippet(text: str, words: re.Pattern[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The surroundings of the first of `words` on one line, and where words are in it."""
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
    """`text` with one blank for each run of blanks, line ends and control characters."""
    line = re.sub(" +", " ", "".join(char if char.isprintable() else " " for char in text))
    return line.removeprefix(" ") if after_blank else line


def _rows(text: str) -> Iterator[str]:
    """`text` in rows that can be searched one by one, cut between words where there are any."""
    start = 0
    while len(text) - start > MOST_CHARACTERS:
        end = start + MOST_CHARACTERS
        blank = max(text.rfind(" ", start, end), text.rfind("\n", start, end))
        end = blank + 1 if blank >= start else end
        yield text[start:end]
        start = end
    if text[start:].strip():
        yield text[start:]
