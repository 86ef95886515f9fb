"""Analysis of a command line for permissions: its parts, and whether it only reads.

In doubt a line counts as one that changes something. Programs are known by name and options; another program
under such a name is not noticed. It must never import anything heavy.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from core.permissions.shell_dangers import is_dangerous
from core.permissions.shell_parser import SimpleCommand, any_begins, names, parse

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["commands", "is_dangerous", "is_read_only"]


LONGEST_LINE: Final = 32_768
"""The longest line, in characters, whose parts are found. A longer one is not known for sure, so it asks."""


def commands(command: str) -> tuple[tuple[str, ...], ...] | None:
    """The words of each simple command of a line, in order; None if they are not known for sure.

    A redirection into or from a file is a part of its own, such as `(">", "build.log")`, so that a rule for
    `echo *` does not cover writing. Variables stay as they are written. For a thread.
    """
    if len(command) > LONGEST_LINE:
        return None
    line = parse(command)
    if not line.sure or not line.commands:
        return None
    parts: list[tuple[str, ...]] = []
    for simple in line.commands:
        if simple.words:
            if simple.words[0].expands:
                return None
            parts.append(simple.texts)
        parts += [(each.operator, each.target.text) for each in simple.redirects if each.opens_file]
    return tuple(parts) or None


LONGEST_READ: Final = 4_096
"""The longest line, in characters, that can count as one that only reads."""


def is_read_only(command: str) -> bool:
    """Whether every part of the line is known to change nothing; of a very long one nothing is known."""
    if len(command) > LONGEST_READ:
        return False
    line = parse(command)
    return line.sure and bool(line.commands) and all(_only_reads(simple) for simple in line.commands)


def _only_reads(command: SimpleCommand) -> bool:
    if command.background or not command.words or any(each.writes for each in command.redirects):
        return False
    name, *arguments = command.words
    if name.expands or name.globs:
        return False
    known = re.sub(r"^(/usr)?/bin/", "", name.text)
    if known in _READERS:
        return True
    if any(word.expands or (word.globs and not re.match(r"[\w./]", word.text)) for word in arguments):
        return False  # an option may come out of it
    check = _CHECKED.get(known)
    return check is not None and check([word.text for word in arguments])


_READERS: Final = names(
    "ls cat head tail wc sleep echo printf pwd cd true false test [ seq du df stat which type whereis grep "
    "egrep fgrep zgrep cmp diff comm cut tr nl tac rev fold paste join basename dirname realpath readlink "
    "uname whoami id groups uptime ps pgrep free lscpu nproc printenv md5sum sha1sum sha256sum sha512sum "
    "cksum strings hexdump od column expr arch tty jq"
)
"""Change nothing whatever their arguments are."""

_VERSIONED: Final = names(
    "python python3 node npm pip pip3 cargo rustc go gcc g++ clang make cmake java ruby uv docker"
)

_DATE: Final = re.compile(r"\+.*|-u|--utc|-R|-I\w*|--iso-8601(=\w+)?|--rfc-\w+(=\w+)?|--date=.*", re.DOTALL)

_SED_PRINT: Final = re.compile(
    r"(\d+|\$)?(,(\d+|\$|\+\d+))?p(;(\d+|\$)?(,(\d+|\$|\+\d+))?[pq])*|\d+q|\d+,\d+p;\d+q"
)


def _without(options: str) -> Callable[[list[str]], bool]:
    """A check for commands that only read unless a word begins as the pattern says."""
    return lambda arguments: not any_begins(options, arguments)


def _uniq(arguments: list[str]) -> bool:
    return sum(not word.startswith("-") for word in arguments) <= 1


def _date(arguments: list[str]) -> bool:
    return all(_DATE.fullmatch(word) for word in arguments)


def _sed(arguments: list[str]) -> bool:
    """Only that which prints lines by their numbers: other scripts can write files and run commands."""
    return (
        len(arguments) >= 2
        and arguments[0] == "-n"
        and _SED_PRINT.fullmatch(arguments[1]) is not None
        and not any_begins("-", arguments[2:])
    )


_GIT_READERS: Final = names(
    "status log diff show rev-parse describe ls-files ls-tree blame shortlog rev-list show-ref merge-base "
    "name-rev count-objects for-each-ref cat-file diff-tree whatchanged version"
)
_GIT_LISTINGS: Final = {
    "branch": ({"-a", "-r", "-v", "-vv", "--all", "--remotes", "--list", "--show-current"}, "--list"),
    "tag": ({"-l", "--list", "-n"}, "-l"),
    "remote": ({"-v", "--verbose"}, ""),
}
"""Options that only list, and the one behind which further words are patterns."""
_GIT_PARTS: Final = {
    "stash": ("list", "show"),
    "worktree": ("list",),
    "reflog": ("show",),
    "config": ("--get", "--get-all", "--list", "-l", "get", "list"),
    "submodule": ("status",),
}


def _git(arguments: list[str]) -> bool:
    words = list(arguments)
    while words and words[0] in ("--no-pager", "-P", "-C"):
        del words[: 2 if words[0] == "-C" else 1]
    if not words:
        return False
    verb, rest = words[0], words[1:]
    # `--output=FILE` may be shortened; the others run programs.
    if any_begins(r"--o(?!neline$)|--ext|--exec|--textconv|--filters|-O", rest):
        return False
    if verb in _GIT_READERS:
        return True
    if verb in _GIT_LISTINGS:
        options, listing = _GIT_LISTINGS[verb]
        patterns = bool(listing) and rest[:1] in ([listing], ["--list"])
        return all(word in options or (patterns and not word.startswith("-")) for word in rest)
    return bool(rest) and rest[0] in _GIT_PARTS.get(verb, ())


_fd = _without(r"--exec|-[^-]*[xX]")

_CHECKED: Final[dict[str, Callable[[list[str]], bool]]] = {
    "find": _without(r"-delete|-exec|-ok|-fprint|-fls"),
    "sort": _without(r"--[oct]|-[^-]*[oT]"),
    "rg": _without(r"--(pre|hostname-bin|search-zip)|-[^-]*z"),
    "fd": _fd, "fdfind": _fd,
    "tree": _without(r"-[^-]*[oR]|--output"),
    "file": _without(r"-[^-]*C|--comp"),
    "uniq": _uniq, "date": _date, "sed": _sed, "git": _git,
    "command": lambda arguments: arguments[:1] in (["-v"], ["-V"]),
    "hostname": lambda arguments: not arguments,
    **dict.fromkeys(_VERSIONED, lambda arguments: arguments in (["--version"], ["-V"])),
}  # fmt: skip
"""Change nothing with some of their arguments only."""
