"""Rules of what calls may do: `tool(pattern)`, and which calls one matches.

A rule that allows is read narrowly, one that denies or asks broadly: what cannot be read for sure is matched
by the second kind and not by the first. Denying a command by its text is no wall: a program can do under one
name what it is denied under another. This module must never look at a mode, and never decides.
"""

from __future__ import annotations

import glob
import itertools
import re
import shlex
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, assert_never
from urllib.parse import urlsplit

from core.base.errors import CaesuraError
from core.base.values import Value
from core.permissions.access import AccessKind
from core.permissions.guards import Guard, host_guards, path_guards, word_guards
from core.permissions.shell_parser import program_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


LONGEST_RUN = 131_072
"""Characters of a command line that are compared. Linux starts no program with a longer argument."""


class RuleError(CaesuraError, ValueError):
    """A text is no rule."""


class Rule(Value):
    """`tool` and a glob over what is touched, such as `shell(git status *)` or `edit_file(src/**)`.

    `tool` may be a glob too: `mcp__github__*`. The pattern is, by the kind of the tool:

    - a path, absolute or from the workspace or `~` on; `*` stays within a folder, `**` does not. Without a
      `/` it is a name, in whatever folder. Only an absolute pattern allows anything outside the workspace.
    - a command line, compared word by word; a last word that ends with `*` takes all that follow, a last word
      `*` also none: `git status *` is `git status` with or without arguments.
    - a web address, `https://host/*`; without `://`, of either scheme.
    - for a server's tool, anything: `*`.
    """

    tool: str
    pattern: str

    def __str__(self) -> str:
        return f"{self.tool}({self.pattern})"

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Read `tool(pattern)` or `tool`, which is `tool(*)`. Raises `RuleError`."""
        found = re.fullmatch(r"\s*([\w.*?\[\]!:/-]+?)(?:\((.+)\))?\s*", text, re.DOTALL)
        if found is None:
            raise RuleError(f"{text!r} is no rule: write tool(pattern), such as shell(git status *)")
        return cls(found[1], "*" if found[2] is None else found[2])


class Subject(Value):
    """What one call is going to touch, with what had to be found out about it.

    `root` is the workspace, resolved. `given` are the paths as named, `real` the same ones resolved, None
    where that is impossible. `folder` is where a command runs, `commands` the simple commands of its line,
    None where it cannot be read for sure. `dangerous` says why the whole line is.
    """

    tool: str
    kind: AccessKind
    text: str
    root: Path
    given: tuple[Path, ...] = ()
    real: tuple[Path | None, ...] = ()
    folder: Path | None = None
    commands: tuple[tuple[str, ...], ...] | None = None
    dangerous: str | None = None

    @property
    def has_paths(self) -> bool:
        return self.kind in {AccessKind.READ, AccessKind.EDIT} and bool(self.given)

    @property
    def guards(self) -> frozenset[Guard]:
        """Why it needs a question in every mode."""
        match self.kind:
            case AccessKind.READ | AccessKind.EDIT:
                return frozenset[Guard]().union(*(self.path_guards(real) for real in self.real))
            case AccessKind.COMMAND:
                return self._command_guards()
            case AccessKind.NETWORK:
                return host_guards(self.text)
            case AccessKind.SERVER | AccessKind.AGENT:
                return frozenset()
            case _:
                assert_never(self.kind)

    def path_guards(self, real: Path | None) -> frozenset[Guard]:
        """The guards of one of its paths. `PROTECTED` is about edits and does not count for reading."""
        if real is None:
            return frozenset({Guard.OUTSIDE})
        found = path_guards(real, self.root)
        return found if self.kind is AccessKind.EDIT else found - {Guard.PROTECTED}

    def _command_guards(self) -> frozenset[Guard]:
        found = set[Guard]()
        if self.dangerous is not None:
            found.add(Guard.DANGEROUS)
        if self.folder is None or not self.folder.is_relative_to(self.root):
            found.add(Guard.OUTSIDE)
        if self.commands is None:
            found.add(Guard.UNREADABLE)
        for words in self.commands or ():
            found |= word_guards(words, self.folder or self.root, self.root)
        return frozenset(found)


def forbids(rule: Rule, subject: Subject) -> bool:
    """Whether a rule that denies or asks covers any part of the subject."""
    if not fnmatchcase(subject.tool, rule.tool):
        return False
    if rule.pattern in {"*", "**", subject.text}:
        return True
    if subject.kind is AccessKind.COMMAND:
        return _covers_any(_pattern_words(rule.pattern), _possible_commands(subject.text, subject.commands))
    if subject.has_paths:
        paths = {*subject.given, *(real for real in subject.real if real is not None)}
        patterns = {rule.pattern, _with_real_folder(rule.pattern)}
        return any(_path_matches(p, path, subject.root, broad=True) for p in patterns for path in paths)
    if subject.kind is AccessKind.NETWORK:
        return _address_matches(rule.pattern, subject.text) or fnmatchcase(subject.text, rule.pattern)
    return fnmatchcase(subject.text, rule.pattern)


def allows(rules: tuple[Rule, ...], subject: Subject) -> bool:
    """Whether rules that allow cover every part of the subject, and name what is guarded in it.

    A rule names what is guarded if its pattern, read as it stands, has the same guards: `read_file(.env)`
    names the file and `read_file(*)` does not, `shell(sudo *)` names the danger and `shell(*)` does not.
    """
    rules = tuple(rule for rule in rules if fnmatchcase(subject.tool, rule.tool))
    match subject.kind:
        case AccessKind.COMMAND:
            return _allows_command(rules, subject)
        case AccessKind.READ | AccessKind.EDIT if subject.has_paths:
            return all(_allows_path(rules, real, subject) for real in subject.real)
        case AccessKind.NETWORK:
            guards = host_guards(subject.text)
            return Guard.UNREADABLE not in guards and any(
                _address_matches(rule.pattern, subject.text)
                and guards <= host_guards(_with_scheme(rule.pattern, "https"))
                for rule in rules
            )
        case _:
            return any(fnmatchcase(subject.text, rule.pattern) for rule in rules)


def _allows_path(rules: tuple[Rule, ...], real: Path | None, subject: Subject) -> bool:
    if real is None:
        return False
    guards = subject.path_guards(real)
    return any(
        _path_matches(rule.pattern, real, subject.root, broad=False)
        and guards <= path_guards(_as_path(rule.pattern, subject.root), subject.root)
        for rule in rules
    )


def _allows_command(rules: tuple[Rule, ...], subject: Subject) -> bool:
    if subject.folder is None or not subject.folder.is_relative_to(subject.root):
        return False  # the line does not say where it runs, so no rule names it
    if any(rule.pattern in {subject.text, glob.escape(subject.text)} for rule in rules):
        return True
    if subject.commands is None:
        return False
    return all(any(_allows_words(rule, words, subject) for rule in rules) for words in subject.commands)


def _allows_words(rule: Rule, words: tuple[str, ...], subject: Subject) -> bool:
    from core.permissions.shell_analysis import is_dangerous

    globs = _pattern_words(rule.pattern)
    if not _globs_match(globs, words):
        return False
    folder = subject.folder or subject.root
    guards = word_guards(words, folder, subject.root)
    if not guards <= word_guards(globs, folder, subject.root):
        return False
    # The danger is known for the whole line only, so rules must name all its parts.
    return subject.dangerous is None or is_dangerous(rule.pattern) is not None


def _pattern_words(pattern: str) -> list[str]:
    try:
        return shlex.split(pattern)
    except ValueError:
        return pattern.split()


def _globs_match(globs: list[str], words: Sequence[str]) -> bool:
    if not globs:
        return False
    *first, last = globs
    if last == "*":
        exact, rest = first, True
    else:
        exact, rest = globs, last.endswith("*")
    if len(words) < len(exact) or (len(words) > len(exact) and not rest):
        return False
    return all(fnmatchcase(word, pattern) for word, pattern in zip(words, exact, strict=False))


_Starts: TypeAlias = dict[str, list[tuple[tuple[str, ...], int]]]
"""Words and the index of the first word of a command in them, by the name of its program."""

# Programs that run the words after them as a command.
_CARRIER = re.compile(
    r".*=.*|sudo|doas|su|env|command|builtin|exec|eval|nohup|time|nice|ionice|setsid|timeout|stdbuf|xargs|watch|"
    r"chroot|busybox|sh|bash|zsh|dash|ksh|fish|ssh|find|parallel|script|unshare|nsenter|bwrap|"
    r"if|elif|then|else|while|until|do|!"
)


@lru_cache(maxsize=4)
def _possible_commands(text: str, commands: tuple[tuple[str, ...], ...] | None) -> _Starts:
    """Where commands may begin in the line, by the names of their programs; rather too many than too few.

    Every rule looks at them, so they are kept.
    """
    if commands is None:
        found = dict.fromkeys(_pieces(text[:LONGEST_RUN]))
    else:
        carried = (word for words in commands if _is_carrier(words) for word in words[1:])
        found = dict.fromkeys((*commands, *itertools.chain.from_iterable(map(_pieces, carried))))
    starts: _Starts = {}
    for words in found:
        # Behind a carrier, a command may begin at any word.
        for at in range(len(words) if _is_carrier(words) else min(len(words), 1)):
            for name in {words[at], program_name(words[at])}:
                starts.setdefault(name, []).append((words, at))
    return starts


def _pieces(text: str) -> Iterator[tuple[str, ...]]:
    return (tuple(piece.split()) for piece in re.split(r"[;&|\n(){}`]|\$\(", text))


def _is_carrier(words: tuple[str, ...]) -> bool:
    return bool(words) and _CARRIER.fullmatch(program_name(words[0])) is not None


def _covers_any(globs: list[str], starts: _Starts) -> bool:
    """Whether a pattern covers a command that begins at one of these places.

    Only as many words as the pattern has are compared, and one more: all of them at every place would be
    quadratic in the line.
    """
    if not globs:
        return False
    if glob.escape(globs[0]) == globs[0]:
        names = [globs[0]]
    else:
        names = [name for name in starts if fnmatchcase(name, globs[0])]
    return any(
        _globs_match(globs, (name, *words[at + 1 : at + len(globs) + 1]))
        for name in names
        for words, at in starts.get(name, ())
    )


def _as_path(pattern: str, root: Path) -> Path:
    """A pattern of paths as a path, absolute."""
    path = Path(pattern)
    if pattern.startswith("~"):
        try:
            path = path.expanduser()
        except (RuntimeError, ValueError):
            return root / pattern  # no such user: then it is a name
    return root / path


def _path_matches(pattern: str, path: Path, root: Path, *, broad: bool) -> bool:
    """`broad` lets a name match outside the workspace too."""
    if "/" not in pattern.rstrip("/") and not pattern.startswith("~"):
        return (broad or path.is_relative_to(root)) and (
            fnmatchcase(path.name, pattern) or pattern in {"*", "**"}
        )
    return _path_glob(str(_as_path(pattern, root))).fullmatch(str(path)) is not None


def _with_real_folder(pattern: str) -> str:
    """The pattern with the links in its fixed beginning resolved."""
    found = re.fullmatch(r"([/~](?:[^*?\[]*/)?)(.*)", pattern, re.DOTALL)
    if found is None:
        return pattern
    try:
        return str(Path(found[1]).expanduser().resolve() / found[2])
    except (OSError, RuntimeError, ValueError):
        return pattern


@lru_cache(maxsize=512)
def _path_glob(pattern: str) -> re.Pattern[str]:
    tokens = re.compile(r"\*\*/|/\*\*$|\*\*|\*|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)
    try:
        return re.compile("".join(_as_regex(token) for token in tokens.findall(pattern)), re.DOTALL)
    except re.error:
        return re.compile(
            re.escape(pattern)
        )  # brackets that mean nothing, such as [z-a], stand for themselves


def _as_regex(token: str) -> str:
    match token:
        case "**/":
            return "(?:.*/)?"
        case "/**":
            return "(?:/.*)?"  # the folder itself as well
        case "**":
            return ".*"
        case "*":
            return "[^/]*"
        case "?":
            return "[^/]"
        case _ if len(token) > 2:
            negated = token[1] == "!"
            members = re.escape(token[1 + negated : -1]).replace(r"\-", "-")
            return f"(?!/)[{'^' * negated}{members}]"
        case _:
            return re.escape(token)


def _with_scheme(pattern: str, scheme: str) -> str:
    return pattern if "://" in pattern else f"{scheme}://{pattern}"


def _address_matches(pattern: str, url: str) -> bool:
    """Scheme, host and the rest each for themselves: no `*` reaches from the one into the next."""
    try:
        address = urlsplit(url)
        wanted_scheme, _, wanted = _with_scheme(pattern, "*").partition("://")
        wanted_host, _, wanted_rest = wanted.partition("/")
        port = f":{address.port}" if address.port else ""
    except ValueError:
        return False
    host = (address.hostname or "").rstrip(".") + port
    rest = address.path.lstrip("/") + (f"?{address.query}" if address.query else "")
    if re.search(r"(^|/|%2f)(\.|%2e){2}(/|%2f|$)", rest, re.IGNORECASE) and wanted_rest not in {"", "*"}:
        return False
    return (
        fnmatchcase(address.scheme, wanted_scheme)
        and fnmatchcase(host, wanted_host.casefold())
        and (wanted_rest == "" or fnmatchcase(rest, wanted_rest))
    )
