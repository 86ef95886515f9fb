"""Command lines that a person must see first in every mode, with the reason in words.

This is a warning and not a barrier: a program can do anything under a harmless name. Substitutions and
commands that other programs run are checked too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from core.permissions.shell_parser import CommandLine, SimpleCommand, any_begins, names, parse, program_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEEPEST: Final = 5
"""How deep lines within lines are followed; a deeper line counts as dangerous."""

MOST_WORK: Final = 65_536
"""The bound of `_Check`, for a line with all lines within it."""
COMMAND_WORK: Final = 8
"""What a command costs besides its characters and words."""

_ASSIGNMENT: Final = r"\w+\+?="
_SHELLS: Final = names("sh bash dash zsh ksh fish ash")
_INTERPRETERS: Final = _SHELLS | names("python python2 python3 perl ruby node php")

_FORK_BOMB: Final = re.compile(r"(\S{1,30})\s{0,5}\(\s{0,5}\)\s{0,5}\{[^}]{0,200}\1\s{0,5}\|\s{0,5}\1")
"""A function that calls itself twice."""


def is_dangerous(command: str) -> str | None:
    """The danger of a command line, as a text for the person; None if none is known.

    For a thread: it may take some 0.3 s. A line that would take longer counts as dangerous.
    """
    try:
        return _Check().reason(command, 0)
    except _TooMuch:
        return "it is too long to be checked"


class _TooMuch(Exception):
    """The work on one line has reached its bound."""


class _Check:
    """The work on one command line, counted in characters, commands and words examined."""

    def __init__(self) -> None:
        self._left = MOST_WORK

    def _spend(self, work: int) -> None:
        self._left -= work
        if self._left < 0:
            raise _TooMuch

    def reason(self, line: str, depth: int) -> str | None:
        if depth > DEEPEST:
            return "it hides commands within commands"
        self._spend(len(line) + COMMAND_WORK * len(re.findall(r"[;&|(\n]", line)))
        if _FORK_BOMB.search(line):
            return "it is a fork bomb"
        return next(self._reasons(parse(line), depth), None)

    def _reasons(self, line: CommandLine, depth: int) -> Iterator[str]:
        changed = any(_sets_variables(list(command.texts)) for command in line.commands)
        for command in line.commands:
            yield from self._command_reasons(command, depth, changed=changed)
            runs_text = command.words and command.words[0].text in _INTERPRETERS | {"source", "."}
            if runs_text and line.nested and "$" in command.texts[1:]:
                yield "it runs what another program writes"
        for inner in line.nested:
            if found := self.reason(inner, depth + 1):
                yield found

    def _command_reasons(self, command: SimpleCommand, depth: int, *, changed: bool) -> Iterator[str]:
        """`changed`: a part of the line sets variables."""
        for redirect in command.redirects:
            if redirect.writes and (place := _sensitive(redirect.target.text)):
                yield f"it writes to {place}"
        words = list(command.texts)
        if command.words and (command.words[0].hidden or re.fullmatch(r"\$[\w{}]+", words[0])):
            yield "it hides the name of a command"
        reads_program = command.piped and not any(each.operator.startswith("<") for each in command.redirects)
        before = 0
        for start in _starts(words):
            begun = words[start:]
            self._spend(len(begun))
            if reads_program and _takes_program_from_input(begun):
                yield "it runs what another program writes"
            if found := self._reason_of_words(begun, depth):
                yield found
            changed = changed or any("=" in word for word in words[before:start])
            before = start
            if changed and _to_caesura(begun) is not None:
                yield "it starts Caesura with other settings"

    def _reason_of_words(self, words: list[str], depth: int) -> str | None:
        name, arguments = program_name(words[0]), words[1:]
        if name in _ALWAYS:
            return _ALWAYS[name]
        if name.startswith("mkfs"):
            return "it makes a file system"
        if name in _SHELLS and any(re.fullmatch(r"-\w*c\w*", word) for word in arguments):
            return next((found for text in arguments if (found := self.reason(text, depth + 1))), None)
        if (own := _to_caesura(words)) is not None and (found := _caesura(own)):
            return found
        check = _CHECKS.get(name)
        if check is not None and (found := check(arguments)):
            return found
        if name in _WRITERS and (place := next(filter(None, map(_sensitive, arguments)), None)):
            return f"it writes to {place}"
        return None


def _takes_program_from_input(words: list[str]) -> bool:
    """Whether it is an interpreter that reads its program from standard input."""
    name, *arguments = words
    if program_name(name) not in _INTERPRETERS or "-c" in arguments:
        return False
    return "-s" in arguments or all(word[:1] in ("-", "") for word in arguments)


_CARRIERS: Final = names(
    "env command builtin exec nohup time nice ionice setsid timeout stdbuf xargs watch chroot busybox "
    "parallel script unshare nsenter bwrap caffeinate then do else !"
)


def _starts(words: list[str]) -> Iterator[int]:
    """The places where a command may begin: the first word, and any word after a program that runs others."""
    start = 0
    while start < len(words) and re.match(_ASSIGNMENT, words[start]):
        start += 1
    if start >= len(words):
        return
    yield start
    if program_name(words[start]) in _CARRIERS:
        yield from range(start + 1, len(words))
    elif program_name(words[start]) == "find":
        yield from (
            index + 1
            for index, word in enumerate(words[:-1])
            if word in ("-exec", "-execdir", "-ok", "-okdir")
        )


_ALWAYS: Final = {
    **dict.fromkeys(("sudo", "doas", "su", "pkexec", "runuser"), "it runs something as another user"),
    **dict.fromkeys(("shutdown", "reboot", "halt", "poweroff"), "it shuts the machine down"),
    **dict.fromkeys(("killall", "pkill", "xkill", "skill"), "it ends processes by name"),
    **dict.fromkeys(("fdisk", "sfdisk", "gdisk", "parted", "wipefs", "mkswap", "shred"), "it destroys data"),
    **dict.fromkeys(("useradd", "userdel", "usermod", "passwd", "chpasswd", "visudo"), "it changes users"),
    **dict.fromkeys(("iptables", "nft", "ufw"), "it changes the firewall"),
    **dict.fromkeys(("insmod", "rmmod", "modprobe", "mount", "umount", "swapoff"), "it changes the system"),
    "dd": "it copies to devices or files without a check",
    "eval": "it runs a text as a command",
    "crontab": "it changes what runs later",
    "at": "it changes what runs later",
}

_WRITERS: Final = names(
    "tee cp mv ln install rsync touch truncate sed rm rmdir unlink chmod chown chgrp mkdir patch tar"
)

_PLACES: Final = tuple(
    (re.compile(pattern), place)
    for pattern, place in (
        (r"(^|/)\.ssh(/|$)", "the folder of SSH keys"),
        (r"^/etc(/|$)", "/etc"),
        (r"^/(boot|sys|proc/sys|proc/sysrq-trigger)(/|$)", "the system"),
        (r"^/(usr|bin|sbin|lib\w*)(/|$)", "the programs of the system"),
        (r"^/dev/(sd|hd|vd|xvd|nvme|mmcblk|disk|mapper|mem)", "a disk"),
        (
            r"(^|/)\.(bash|zsh|ksh|csh|tcsh)(rc|_profile|_login|_logout|_aliases|env)$",
            "a start file of the shell",
        ),
        (r"(^|/)\.(profile|zprofile|zlogin|login|xprofile|xinitrc)$", "a start file of the shell"),
        (r"(^|/)\.config/(fish|autostart|systemd)(/|$)", "what starts by itself"),
        (r"(^|/)\.git/(hooks(/|$)|config$)", "what git runs"),
        (r"^/(var/spool/cron|etc/cron)", "what runs later"),
    )
)


def _sensitive(path: str) -> str | None:
    path = re.sub(r"^(of|--target-directory)=", "", path)
    return next((place for pattern, place in _PLACES if pattern.search(path)), None)


def _flags(arguments: list[str]) -> str:
    """The letters of all short options."""
    return "".join(word[1:] for word in arguments if re.match(r"-\w", word))


def _options(*dangers: tuple[str, str]) -> Callable[[list[str]], str | None]:
    """A check for words that begin as a pattern says; each pattern with its danger, the worst first."""

    def check(arguments: list[str]) -> str | None:
        return next((danger for option, danger in dangers if any_begins(option, arguments)), None)

    return check


def _kill(arguments: list[str]) -> str | None:
    targets = [word for word in arguments if re.fullmatch(r"-?\d+", word)]
    if "-1" in targets[1:] or arguments in (["-1"], ["--", "-1"]) or targets[-1:] in (["1"], ["0"], ["-0"]):
        return "it ends all processes"
    return None


def _git(arguments: list[str]) -> str | None:
    words = list(arguments)
    while words and words[0].startswith("-"):
        if words[0] == "-c":
            return "it sets what git runs"
        del words[: 2 if words[0] in ("-C", "--git-dir", "--work-tree") else 1]
    verb, rest = (words[0], words[1:]) if words else ("", [])
    flags = _flags(rest)
    match verb:
        case "push" if {"f", "d"} & set(flags) or any_begins(r"--(force|mirror|delete|prune)|\+|:", rest):
            return "it rewrites or removes what others have (git push)"
        case "reset" if any_begins("--h", rest):
            return "it throws changes away (git reset --hard)"
        case "clean":
            return "it removes files that are not in git (git clean)"
        case "checkout" | "restore" | "switch" if "f" in flags or any(
            word in ("--", ".", "--force", "--discard-changes") for word in rest
        ):
            return f"it throws changes away (git {verb})"
        case "stash" if rest[:1] in (["drop"], ["clear"]):
            return "it throws changes away (git stash)"
        case "branch" if "D" in flags:
            return "it removes a branch (git branch -D)"
        case "filter-branch" | "filter-repo":
            return "it rewrites the history"
        case "config" if "--global" in rest or "--system" in rest:
            return "it changes git for all projects"
    return None


def _services(arguments: list[str]) -> str | None:
    harmless = names("status show list-units list-unit-files list-timers is-active is-enabled cat")
    verb = next((word for word in arguments if not word.startswith("-")), "status")
    return None if verb in harmless else "it changes the services of the system"


def _containers(arguments: list[str]) -> str | None:
    text = " ".join(arguments)
    # Bounded, so that a text of many such options takes a time that is linear in its length.
    mount = r"(-v|--volume|--mount)[= ]?\S{0,200}(^|[ =])/:"
    if re.search(rf"--privileged|--pid[= ]host|docker\.sock|{mount}", text):
        return "it gives a container the machine"
    _, removes, options = text.partition("rm ")
    if re.search(r"\bprune\b|\bvolume rm\b", text) or (removes and re.search(r"-\w*f", options)):
        return "it removes containers or what they hold"
    return None


def _init(arguments: list[str]) -> str | None:
    return "it shuts the machine down" if arguments[:1] in (["0"], ["6"]) else None


def _script(arguments: list[str]) -> str | None:
    """Checks a program in an argument for the most common destructive calls only."""
    text = " ".join(arguments)
    if re.search(r"rmtree|os\.system|child_process|rmSync|exec\(\s*base64|b64decode", text):
        return "it is a program that removes files or runs commands"
    if re.search(
        r"\b(from|import)\s+(caesura|tui)\b|_module\(\W*(caesura|tui)\b"
        r"|\.caesura\.toml|\b(permissions|trusted|keys)\.toml",
        text,
    ):
        return "it is a program that may change the settings of Caesura"
    return None


_RUNNERS: Final = names("uv uvx pipx poetry pdm hatch rye pixi conda")
"""Programs that start a Python program by its name."""

_OWN_MODULES: Final = names("caesura tui.cli tui.cli.main")

_OWN_COMMANDS: Final = {"config": names("show get path manual check"), "keys": names("list")}
"""Subcommands of Caesura that change nothing; without a subcommand both show or list."""


def _to_caesura(words: list[str]) -> list[str] | None:
    """The arguments of Caesura, however the words start it; None if they do not."""
    runs_python = False
    for place, word in enumerate(words):
        name = program_name(word)
        if runs_python and (name == "caesura.py" or _is_own_module(words[place - 1], word)):
            return words[place + 1 :]
        if name == "caesura" and (place == 0 or program_name(words[0]) in _RUNNERS):
            return words[place + 1 :]
        runs_python = runs_python or name.startswith(("python", "pypy"))
    return None


def _is_own_module(before: str, word: str) -> bool:
    """Whether `python ... before word` runs one of our modules: `-m caesura`, `-Pm caesura`, `-mcaesura`."""
    joined = re.fullmatch(r"-[a-zA-Z]*?m(.+)", word)
    return (joined is not None and joined[1] in _OWN_MODULES) or (
        word in _OWN_MODULES and re.fullmatch(r"-[a-zA-Z]*m", before) is not None
    )


def _caesura(arguments: list[str]) -> str | None:
    """The danger of running Caesura: a model must not widen permissions or send keys."""
    for place, word in enumerate(arguments):
        if word in _OWN_COMMANDS:
            verb = next((each for each in arguments[place + 1 :] if not each.startswith("-")), "")
            if verb and verb not in _OWN_COMMANDS[word]:
                return "it changes the settings of Caesura, or uses its keys"
    if "sessions" in arguments and "delete" in arguments:
        return "it deletes conversations"
    if any_begins("--ap", arguments):
        return "it sends a key to a server that it names"
    if "auto" in arguments or any(word.endswith("=auto") for word in arguments):
        return "it starts an assistant that asks for little"
    return None


def _sets_variables(words: list[str]) -> bool:
    """Whether it sets variables of the environment for itself or for what follows."""
    return any_begins(_ASSIGNMENT, words) and (
        all(re.match(_ASSIGNMENT, word) for word in words)
        or words[0] in ("export", "declare", "typeset", "env")
    )


_recursive = _options((r"-(?=\w).*R|--rec", "it changes the access to a whole tree"))

_CHECKS: Final[dict[str, Callable[[list[str]], str | None]]] = {
    "rm": _options(
        (r"-(?=\w).*[rR]|--r", "it removes folders with all that is in them"),
        (r"-(?=\w).*f|--f", "it removes files without a question"),
    ),
    "find": _options((r"-delete$", "it removes all that is found")),
    "truncate": _options((r"-s0?$|--size=0$", "it empties files")),
    "chmod": _recursive, "chown": _recursive, "chgrp": _recursive, "kill": _kill, "git": _git,
    "systemctl": _services, "service": _services, "launchctl": _services, "docker": _containers,
    "podman": _containers, "init": _init, "telinit": _init,
    **dict.fromkeys(_INTERPRETERS - _SHELLS, _script),
}  # fmt: skip
