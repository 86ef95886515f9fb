"""Parser of shell command lines: simple commands, quoting, and what can only be guessed.

It never fails. What it does not understand for sure, such as a loop, a function or a substitution, makes the
line not `sure`; then the commands are what they seem to be. Code that allows a line must check `sure`;
code that warns may use the rest too. Time is linear in the line but for nested substitutions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from core.base.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable


def names(text: str) -> frozenset[str]:
    """A set of names that are written with spaces between them."""
    return frozenset(text.split())


def program_name(word: str) -> str:
    """The name of the program at a path."""
    return word.rstrip("/").rpartition("/")[2]


def any_begins(pattern: str, words: Iterable[str]) -> bool:
    """Whether a word begins as the regular expression says."""
    return any(re.match(pattern, word, re.DOTALL) for word in words)


RESERVED: Final = names(
    "if then else elif fi for while until do done case esac select function time coproc [[ ]] { } !"
)
_SKIPPED: Final = RESERVED - names("for case select function [[ ]]")
"""Reserved words behind which a command begins."""

_REDIRECT = re.compile(r"&>>|&>|<<<|<<-?|>>|>\||>&|<&|<>|<|>")
_OPERATOR = re.compile(r"&&|\|\||\|&|;;&?|;&|;|&|\||\n")
_PLAIN = re.compile(r"[\w.,:=/+@%^~-]+")
_PLAIN_QUOTED = re.compile(r"[^\"\\$`]+")
_PLAIN_BRACES = re.compile(r"\{[\w@^~/-]*\}")
_VARIABLE = re.compile(r"\$(?:\w+|[@*#?$!-]|\{\w+\})")


class Word(Value):
    """One word as the command gets it. `expands`: a variable in it is not known; `globs`: file names may
    take its place; `hidden`: it is spelled with escapes."""

    text: str
    expands: bool = False
    globs: bool = False
    hidden: bool = False


class Redirect(Value):
    """`operator` without the number of the descriptor; `target` a file, or a descriptor behind `>&`."""

    operator: str
    target: Word

    @property
    def opens_file(self) -> bool:
        """Whether it opens a file; to read, write or create it."""
        copies = self.operator in (">&", "<&") and re.fullmatch(r"\d+-?|-", self.target.text)
        return not copies and self.target.text != "/dev/null"

    @property
    def writes(self) -> bool:
        return self.opens_file and self.operator not in ("<", "<&")


class SimpleCommand(Value):
    """`piped`: it reads what the command before it writes. `background`: it is not waited for."""

    words: tuple[Word, ...]
    redirects: tuple[Redirect, ...] = ()
    piped: bool = False
    background: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(word.text for word in self.words)


class CommandLine(Value):
    """`nested` are the texts of substitutions, which are command lines of their own."""

    commands: tuple[SimpleCommand, ...]
    nested: tuple[str, ...]
    sure: bool


def parse(line: str) -> CommandLine:
    """Parse a command line."""
    return _Parser(line).parse()


@dataclass(slots=True)
class _Parser:
    line: str
    at: int = 0
    sure: bool = True
    commands: list[SimpleCommand] = field(default_factory=list)
    nested: list[str] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    redirects: list[Redirect] = field(default_factory=list)
    awaiting: str = ""
    """A redirection whose target comes next."""
    piped: bool = False

    # The word that is being read; `text` is None between two words.
    text: str | None = None
    expands: bool = False
    globs: bool = False
    hidden: bool = False
    quoted: bool = False

    def parse(self) -> CommandLine:
        if re.search(r"[\x00-\x08\x0b-\x1f\x7f]", self.line):
            self.sure = False
        while self.at < len(self.line):
            self._step(self.line[self.at])
        self._end_command("\n")
        self.sure = self.sure and not self.piped
        return CommandLine(tuple(self.commands), tuple(self.nested), self.sure)

    def _step(self, character: str) -> None:
        match character:
            case " " | "\t" | "\r":
                self._end_word()
                self.at += 1
            case "\\":
                if self.line[self.at + 1 : self.at + 2] != "\n":
                    self._add(self.line[self.at + 1 : self.at + 2])
                    self.quoted = True
                self.at += 2
            case "'":
                self._add(self._until("'", self.at + 1), quoted=True)
            case '"':
                self._double_quoted(self.at + 1)
            case "$":
                self._dollar()
            case "`":
                self._backticks()
            case "#" if self.text is None:
                end = self.line.find("\n", self.at)
                self.at = end if end >= 0 else len(self.line)
            case "(" | ")":
                self._parenthesis(character)
            case "<" | ">" | ";" | "&" | "|" | "\n":
                self._operator()
            case "{" | "}":
                self._brace(character)
            case _:
                self._plain(_PLAIN, character)
                self.globs = self.globs or character in "*?["

    def _plain(self, run: re.Pattern[str], character: str) -> None:
        """A run of characters that mean nothing, or this one."""
        found = run.match(self.line, self.at)
        text = found[0] if found else character
        self._add(text)
        self.at += len(text)

    def _add(self, text: str, *, quoted: bool = False) -> None:
        self.text = (self.text or "") + text
        self.quoted = self.quoted or quoted

    def _until(self, end: str, start: int) -> str:
        """The text up to `end`, which is skipped."""
        found = self.line.find(end, start)
        if found < 0:
            self.sure = False
            found = len(self.line)
        self.at = found + 1
        return self.line[start:found]

    def _double_quoted(self, start: int) -> None:
        self._add("", quoted=True)
        self.at = start
        while self.at < len(self.line):
            match self.line[self.at]:
                case '"':
                    self.at += 1
                    return
                case "\\" if self.line[self.at + 1 : self.at + 2] in ("$", "`", '"', "\\", "\n"):
                    self._add(self.line[self.at + 1].replace("\n", ""))
                    self.at += 2
                case "$" if self.line[self.at + 1 : self.at + 2] not in ("'", '"'):
                    self._dollar()
                case "`":
                    self._backticks()
                case character:
                    self._plain(_PLAIN_QUOTED, character)
        self.sure = False

    def _dollar(self) -> None:
        following = self.line[self.at + 1 : self.at + 2]
        if found := _VARIABLE.match(self.line, self.at):
            self.expands = True
            self._add(found[0])
            self.at = found.end()
        elif following == "'":
            self._ansi_quoted()
        elif following == '"':
            self._double_quoted(self.at + 2)
        elif following in ("(", "{"):
            self.sure, self.expands = False, True
            inner = self._balanced(self.at + 1, following, ")" if following == "(" else "}")
            self.nested.append(inner)
            self._add("$")
        else:
            self._add("$")
            self.at += 1

    def _ansi_quoted(self) -> None:
        end = re.compile(r"(?:[^'\\]|\\.)*", re.DOTALL).match(self.line, self.at + 2)
        assert end is not None
        self._add(end[0], quoted=True)
        self.sure, self.hidden = False, self.hidden or "\\" in end[0]
        self.at = end.end() + 1

    def _balanced(self, start: int, opening: str, closing: str) -> str:
        """What stands between two brackets, quotes left alone; `at` goes behind them."""
        depth = 0
        for index in range(start, len(self.line)):
            depth += (self.line[index] == opening) - (self.line[index] == closing)
            if depth == 0:
                self.at = index + 1
                return self.line[start + 1 : index]
        self.at = len(self.line)
        return self.line[start + 1 :]

    def _backticks(self) -> None:
        self.sure, self.expands = False, True
        self.nested.append(self._until("`", self.at + 1))
        self._add("$")

    def _parenthesis(self, character: str) -> None:
        self._end_word()
        if self.words or self.awaiting or self.line.startswith("((", self.at):
            self.sure = self.sure and character == ")" and not self.awaiting
        self._end_command(character)
        self.at += 1

    def _brace(self, character: str) -> None:
        plain = _PLAIN_BRACES.match(self.line, self.at)
        if plain is not None:
            self._add(plain[0])
            self.at = plain.end()
            return
        self.sure = False
        self._add(character)
        self.at += 1

    def _operator(self) -> None:
        if found := _REDIRECT.match(self.line, self.at):
            if self.text is not None and self.text.isdecimal() and not self.quoted:
                self.text = None  # the number of the descriptor
            self._end_word()
            self.at = found.end()
            if self.line.startswith("(", self.at) and found[0] in ("<", ">"):
                self.sure = False
                self.nested.append(self._balanced(self.at, "(", ")"))
                self.words.append(Word("$", expands=True))
                return
            self.sure = self.sure and not self.awaiting and not found[0].startswith("<<")
            self.awaiting = found[0]
            return
        operator = _OPERATOR.match(self.line, self.at)
        assert operator is not None
        self._end_word()
        self.sure = self.sure and not self.awaiting and not operator[0].startswith((";;", ";&"))
        self._end_command(operator[0])
        self.at = operator.end()

    def _end_word(self) -> None:
        if self.text is None:
            return
        word = Word(self.text, self.expands, self.globs and self.text != "[", self.hidden)
        if self.awaiting:
            self.redirects.append(Redirect(self.awaiting, word))
            self.awaiting = ""
        elif not self.words and not self.quoted and word.text in RESERVED:
            self.sure = False
            if word.text not in _SKIPPED:
                self.words.append(word)
        else:
            self.words.append(word)
        self.text = None
        self.expands = self.globs = self.hidden = self.quoted = False

    def _end_command(self, by: str) -> None:
        self._end_word()
        self.sure = self.sure and not self.awaiting
        self.awaiting = ""
        is_command = bool(self.words or self.redirects)
        if is_command:
            command = SimpleCommand(tuple(self.words), tuple(self.redirects), self.piped, by == "&")
            self.commands.append(command)
        if is_command or by not in ("\n", "(", ")"):
            # `| sort` may go on behind a parenthesis: nothing was added, but the next one is piped.
            self.piped = by in ("|", "|&")
        self.words, self.redirects = [], []
