"""Changes that a model may make to the notes of a workspace: add a line, replace one, shorten all of it.

The notes are Markdown that a user may edit; ours are lines that begin with `- `. An answer is used as a whole
or not at all, and nothing that looks like a key is ever taken from one.
"""

from __future__ import annotations

import re

from core.base.errors import CaesuraError
from core.base.sanitize import printable
from core.base.secrets import may_hold_secret
from core.base.values import Value

MOST_CHANGES = 20
MOST_NOTE_CHARACTERS = 400
MOST_CHARACTERS = 64_000
"""Maximum of all notes together: beyond it nothing is added."""
LEAST_KEPT = 0.2
"""The part of its length that a consolidation has to keep."""

NOTHING = "NOTHING"

_ADD = re.compile(r"ADD:\s*(?:[-*]\s+)?(\S.*)")
_REPLACE = re.compile(r"REPLACE\s+([0-9]{1,5}):\s*(?:[-*]\s+)?(\S.*)")
_NOTE = re.compile(r"(\s*)[-*]\s+(\S.*)")
_HEADING = re.compile(r"#{1,6}\s+\S")
_THOUGHT = "</think>"


class NotesError(CaesuraError):
    """An answer about the notes cannot be used; the text is the reason."""


class Changes(Value):
    """`replaced` maps numbers, from 1, of lines of the shown text to their new content."""

    added: tuple[str, ...] = ()
    replaced: tuple[tuple[int, str], ...] = ()

    def applied(self, text: str) -> str:
        """All changes applied to `text`, which is the text that was shown."""
        lines = text.split("\n")
        for number, note in self.replaced:
            line = lines[number - 1]
            indent = line[: len(line) - len(line.lstrip())]
            lines[number - 1] = f"{indent}- {note}"
        return self.appended("\n".join(lines))

    def appended(self, text: str) -> str:
        """`text`, which may have changed since, with the new lines appended that it does not contain."""
        known = {_plain(line) for line in text.split("\n")}
        for note in self.added:
            if _plain(note) not in known and len(text) < MOST_CHARACTERS:
                known.add(_plain(note))
                text = f"{text}- {note}\n" if not text or text.endswith("\n") else f"{text}\n- {note}\n"
        return text


def numbered(text: str) -> str:
    """The notes as shown to a model that may replace lines by their number."""
    return "\n".join(f"{number}: {line}" for number, line in enumerate(text.split("\n"), 1) if line.strip())


def read_changes(answer: str, text: str) -> Changes:
    """The changes that an answer makes to the notes `text`, without anything that looks like a key.

    Raises `NotesError` when any line is not understood: then it does not answer the request.
    """
    lines = _lines(answer)
    if lines == [NOTHING]:
        return Changes()
    if not 0 < len(lines) <= MOST_CHANGES:
        raise NotesError(f"the answer has {len(lines)} lines.")
    there = text.split("\n")
    added: list[str] = []
    replaced: dict[int, str] = {}
    for line in lines:
        if found := _ADD.fullmatch(line):
            added.append(_note(found[1]))
        elif found := _REPLACE.fullmatch(line):
            number = int(found[1])
            if not 0 < number <= len(there) or not _NOTE.fullmatch(there[number - 1]) or number in replaced:
                raise NotesError("the answer replaces a line that is no note, or one twice.")
            replaced[number] = _note(found[2])
        else:
            raise NotesError("the answer is not in the form that was asked for.")
    return Changes(
        tuple(note for note in added if not may_hold_secret(note)),
        tuple((number, note) for number, note in replaced.items() if not may_hold_secret(note)),
    )


def read_consolidated(answer: str, text: str) -> str:
    """The shorter form of the notes `text` in an answer.

    Raises `NotesError` when it is not shorter, loses more than four fifths, or is not made of notes.
    """
    lines = []
    for line in _lines(answer):
        if found := _NOTE.fullmatch(line):
            note = f"{found[1]}- {found[2]}"
        elif _HEADING.match(line):
            note = line
        else:
            raise NotesError("the consolidated notes are not in the form that was asked for.")
        if not may_hold_secret(note):
            lines.append(note)
    shorter = "".join(f"{line}\n" for line in lines)
    if not any(_NOTE.fullmatch(line) for line in lines) or len(shorter) < LEAST_KEPT * len(text.strip()):
        raise NotesError("the consolidated notes have lost too much.")
    if len(shorter) >= len(text):
        raise NotesError("the consolidated notes are no shorter.")
    return shorter


def _note(text: str) -> str:
    if len(text) > MOST_NOTE_CHARACTERS:
        raise NotesError(f"a note is longer than {MOST_NOTE_CHARACTERS} characters.")
    return text


def _lines(answer: str) -> list[str]:
    """The content lines of an answer: neither blank lines nor the fence around the others."""
    text = printable(answer.rpartition(_THOUGHT)[2])
    lines = (line.rstrip() for line in text.splitlines())
    return [line for line in lines if line.strip() and not line.lstrip().startswith("```")]


def _plain(line: str) -> str:
    return " ".join(line.lstrip(" \t-*").split()).casefold().rstrip(".")
