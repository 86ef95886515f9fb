"""What a model may do to the notes of a workspace, as text: add a line, replace one, make all of it shorter.

The notes are Markdown that a person may edit; ours are lines that begin with `- `. An answer counts as a
whole or not at all, and nothing that looks like a key is ever taken over from one.
"""

from __future__ import annotations

import re

from core.errors import CaesuraError
from core.sanitize import printable
from core.values import dataclass

MOST_CHANGES = 20
MOST_NOTE_CHARACTERS = 400
MOST_CHARACTERS = 64_000
"""Of all notes together: from there on nothing is added."""
LEAST_KEPT = 0.2
"""The part of its length that a consolidation has to keep."""

NOTHING = "NOTHING"

_ADD = re.compile(r"ADD:\s*(?:[-*]\s+)?(\S.*)")
_REPLACE = re.compile(r"REPLACE\s+([0-9]{1,5}):\s*(?:[-*]\s+)?(\S.*)")
_NOTE = re.compile(r"(\s*)[-*]\s+(\S.*)")
_HEADING = re.compile(r"#{1,6}\s+\S")
_THOUGHT = "</think>"

_KEY = re.compile(
    r"-----BEGIN"
    r"|(?<![A-Za-z0-9])(?:sk|pk|rk)[-_][A-Za-z0-9_-]{8,}"
    r"|(?<![A-Za-z0-9])(?:gh[a-z]_|github_pat_|glpat-|xox[a-z]-|hf_|npm_|pypi-|AIza|ya29\.)[A-Za-z0-9_-]{8,}"
    r"|(?<![A-Za-z0-9])A[A-Z]IA[A-Z0-9]{12,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"
    r"|://[^/\s:@]+:[^/\s@]+@"
    r"|(?<![A-Za-z0-9])[0-9a-fA-F]{32,}(?![A-Za-z0-9])"
    r"|(?i:pass(?:word|phrase|wd|wort)|secret|api[ _-]?key|(?:access|auth|bearer)[ _-]?token)"
    r"[\"'`]*\s*(?::|=|\bis\b)\s*\S"
)
_RUN = re.compile(r"[A-Za-z0-9+_=-]{20,}")
_CLOSE_RUN = re.compile(r"[A-Za-z0-9]{20,}")


class NotesError(CaesuraError):
    """An answer about the notes that is not used: why."""


@dataclass(frozen=True, slots=True)
class Changes:
    """`replaced` are the numbers, from 1, of lines of the text that was shown, and what is to stand there."""

    added: tuple[str, ...] = ()
    replaced: tuple[tuple[int, str], ...] = ()

    def applied(self, text: str) -> str:
        """`text`, which is the one that was shown, with all of it."""
        lines = text.split("\n")
        for number, note in self.replaced:
            lines[number - 1] = f"{_indent(lines[number - 1])}- {note}"
        return self.appended("\n".join(lines))

    def appended(self, text: str) -> str:
        """`text`, which may be another by now, with what is new to it below."""
        known = {_plain(line) for line in text.split("\n")}
        for note in self.added:
            if _plain(note) not in known and len(text) < MOST_CHARACTERS:
                known.add(_plain(note))
                text = f"{text}- {note}\n" if not text or text.endswith("\n") else f"{text}\n- {note}\n"
        return text


def numbered(text: str) -> str:
    """The notes as they are shown to a model that may replace lines by their number."""
    return "\n".join(f"{number}: {line}" for number, line in enumerate(text.split("\n"), 1) if line.strip())


def read_changes(answer: str, text: str) -> Changes:
    """What an answer wants of the notes `text`, without what looks like a key.

    Raises `NotesError` when any line of it is not understood: then it is no answer to what was asked.
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
        tuple(note for note in added if not looks_secret(note)),
        tuple((number, note) for number, note in replaced.items() if not looks_secret(note)),
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
        if not looks_secret(note):
            lines.append(note)
    shorter = "".join(f"{line}\n" for line in lines)
    if not any(_NOTE.fullmatch(line) for line in lines) or len(shorter) < LEAST_KEPT * len(text.strip()):
        raise NotesError("the consolidated notes have lost too much.")
    if len(shorter) >= len(text):
        raise NotesError("the consolidated notes are no shorter.")
    return shorter


def looks_secret(line: str) -> bool:
    """Whether a line holds what looks like a key or a password; rather once too often."""
    if _KEY.search(line):
        return True
    # Letters of both cases and digits in a row, or many digits among letters: no word has that, and hardly
    # a name.
    mixed = any(_digits(run) >= 2 and run not in (run.lower(), run.upper()) for run in _RUN.findall(line))
    return mixed or any(_digits(run) >= 4 for run in _CLOSE_RUN.findall(line))


def _digits(run: str) -> int:
    return sum(character.isdigit() for character in run)


def _note(text: str) -> str:
    if len(text) > MOST_NOTE_CHARACTERS:
        raise NotesError(f"a note is longer than {MOST_NOTE_CHARACTERS} characters.")
    return text


def _lines(answer: str) -> list[str]:
    """The lines of an answer that say something: neither blank nor the fence around the others."""
    text = printable(answer.rpartition(_THOUGHT)[2])
    lines = (line.rstrip() for line in text.splitlines())
    return [line for line in lines if line.strip() and not line.lstrip().startswith("```")]


def _plain(line: str) -> str:
    return " ".join(line.lstrip(" \t-*").split()).casefold().rstrip(".")


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]
