"""Command lines that a person must see first, whatever the mode: what they would do, in words.

It is a warning and no wall: a program can do anything under a harmless name. So it looks at more than it
understands, also into substitutions and into what other programs are told to run.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from core.tools.shell_words import CommandLine, SimpleCommand, names, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEEPEST: Final = 5
"""How far lines within lines are followed; what lies deeper is dangerous by that alone."""

_SHELLS: Final = names("sh bash dash zsh ksh fish ash")
_INTERPRETERS: Final = _SHELLS | names("python python2 python3 perl ruby node php")

_FORK_BOMB: Final = re.compile(r"(\S{1,30})\s{0,5}\(\s{0,5}\)\s{0,5}\{[^}]{0,200}\1\s{0,5}\|\s{0,5}\1")
"""A function that calls itself twice."""


def is_dangerous(command: str) -> str | None:
    """What is dangerous about a command line, for the person who is asked; None if nothing is known to be."""
    return _reason(command, 0)


def _reason(line: str, depth: int) -> str | None:
    if depth > DEEPEST:
        return "it hides commands within commands"
    if _FORK_BOMB.search(line):
        return "it is a fork bomb"
    parsed = parse(line)
    return next(_reasons(parsed, depth), None)


def _reasons(line: CommandLine, depth: int) -> Iterator[str]:
    changed = any(_sets_variables(list(command.texts)) for command in line.commands)
    for command in line.commands:
        for redirect in command.redirects:
            if redirect.writes and (place := _sensitive(redirect.target.text)):
                yield f"it writes to {place}"
        words = list(command.texts)
        if command.words and (command.words[0].hidden or re.fullmatch(r"\$[\w{}]+", words[0])):
            yield "it hides the name of a command"
        if command.piped and _is_bare_interpreter(command, words):
            yield "it runs what another program writes"
        for start in _starts(words):
            found = _command_reason(words[start:], depth)
            if found:
                yield found
            if (changed or any("=" in word for word in words[:start])) and _to_caesura(
                words[start:]
            ) is not None:
                yield "it starts Caesura with other settings"
        if words and words[0] in _INTERPRETERS | {"source", "."} and "$" in words[1:] and line.nested:
            yield "it runs what another program writes"
    for inner in line.nested:
        if found := _reason(inner, depth + 1):
            yield found


def _is_bare_interpreter(command: SimpleCommand, words: list[str]) -> bool:
    """Whether it takes its program from standard input."""
    if any(each.operator.startswith("<") for each in command.redirects):
        return False
    for start in _starts(words):
        name, *arguments = words[start:]
        if _name(name) not in _INTERPRETERS or "-c" in arguments:
            continue
        if "-s" in arguments or all(word[:1] in ("-", "") for word in arguments):
            return True
    return False


_CARRIERS: Final = names(
    "env command builtin exec nohup time nice ionice setsid timeout stdbuf xargs watch chroot busybox "
    "parallel script unshare nsenter bwrap caffeinate then do else !"
)


def _starts(words: list[str]) -> Iterator[int]:
    """Where a command may begin in the words: at the first, and behind programs that run what follows."""
    start = 0
    while start < len(words) and re.match(r"\w+\+?=", words[start]):
        start += 1
    if start >= len(words):
        return
    yield start
    if _name(words[start]) in _CARRIERS:
        yield from range(start + 1, len(words))
    elif _name(words[start]) == "find":
        yield from (
            index + 1
            for index, word in enumerate(words[:-1])
            if word in ("-exec", "-execdir", "-ok", "-okdir")
        )


def _name(word: str) -> str:
    return PurePosixPath(word).name


def _command_reason(words: list[str], depth: int) -> str | None:
    name, arguments = _name(words[0]), words[1:]
    if name in _ALWAYS:
        return _ALWAYS[name]
    if name.startswith("mkfs"):
        return "it makes a file system"
    if name in _SHELLS and any(re.fullmatch(r"-\w*c\w*", word) for word in arguments):
        return next((found for text in arguments if (found := _reason(text, depth + 1))), None)
    if (own := _to_caesura(words)) is not None and (found := _caesura(own)):
        return found
    check = _CHECKS.get(name)
    if check is not None and (found := check(arguments)):
        return found
    if name in _WRITERS and (place := next(filter(None, map(_sensitive, arguments)), None)):
        return f"it writes to {place}"
    return None


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


def _rm(arguments: list[str]) -> str | None:
    flags = _flags(arguments)
    if set(flags) & {"r", "R"} or any(word.startswith("--r") for word in arguments):
        return "it removes folders with all that is in them"
    if "f" in flags or any(word.startswith("--f") for word in arguments):
        return "it removes files without a question"
    return None


def _find(arguments: list[str]) -> str | None:
    return "it removes all that is found" if "-delete" in arguments else None


def _recursive(arguments: list[str]) -> str | None:
    if "R" in _flags(arguments) or any(word.startswith("--rec") for word in arguments):
        return "it changes the access to a whole tree"
    return None


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
        case "push" if "f" in flags or any(re.match(r"--(force|mirror|delete|prune)|\+|:", w) for w in rest):
            return "it rewrites or removes what others have (git push)"
        case "push" if "d" in flags:
            return "it rewrites or removes what others have (git push)"
        case "reset" if any(word.startswith("--h") for word in rest):
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
    harmless = {
        "status",
        "show",
        "list-units",
        "list-unit-files",
        "list-timers",
        "is-active",
        "is-enabled",
        "cat",
    }
    verb = next((word for word in arguments if not word.startswith("-")), "status")
    return None if verb in harmless else "it changes the services of the system"


def _containers(arguments: list[str]) -> str | None:
    text = " ".join(arguments)
    if re.search(r"--privileged|--pid[= ]host|docker\.sock|(-v|--volume|--mount)[= ]?\S*(^|[ =])/:", text):
        return "it gives a container the machine"
    if re.search(r"\bprune\b|\brm\b.*-\w*f|\bvolume rm\b", text):
        return "it removes containers or what they hold"
    return None


def _init(arguments: list[str]) -> str | None:
    return "it shuts the machine down" if arguments[:1] in (["0"], ["6"]) else None


def _script(arguments: list[str]) -> str | None:
    """A program in an argument: only the plainest ways to destroy are looked for."""
    if re.search(r"rmtree|os\.system|child_process|rmSync|exec\(\s*base64|b64decode", " ".join(arguments)):
        return "it is a program that removes files or runs commands"
    if re.search(
        r"\btui\.cli import\b|\.caesura\.toml|\b(permissions|trusted|keys)\.toml", " ".join(arguments)
    ):
        return "it is a program that may change the settings of Caesura"
    return None


_RUNNERS: Final = names("uv uvx pipx poetry pdm hatch rye pixi conda")
"""Programs that start one of Python's by its name."""

_OWN_COMMANDS: Final = {"config": names("show get path manual check"), "keys": names("list")}
"""What of Caesura's own commands changes nothing; without a word behind them they show and list."""


def _to_caesura(words: list[str]) -> list[str] | None:
    """The arguments that Caesura itself gets, by whatever it is started; None if it is not."""
    for place, word in enumerate(words):
        is_module = word == "tui.cli" and "-m" in words[:place]
        is_program = _name(word) == "caesura" and (place == 0 or _name(words[0]) in _RUNNERS)
        if is_module or is_program:
            return words[place + 1 :]
    return None


def _caesura(arguments: list[str]) -> str | None:
    """Caesura itself: what a person has allowed is not for a model to widen, nor are keys for it to send."""
    for place, word in enumerate(arguments):
        if word in _OWN_COMMANDS:
            verb = next((each for each in arguments[place + 1 :] if not each.startswith("-")), "")
            if verb and verb not in _OWN_COMMANDS[word]:
                return "it changes the settings of Caesura, or uses its keys"
    if "sessions" in arguments and "delete" in arguments:
        return "it deletes conversations"
    if any(word.startswith("--ap") for word in arguments):
        return "it sends a key to a server that it names"
    if "auto" in arguments or any(word.endswith("=auto") for word in arguments):
        return "it starts an assistant that asks for little"
    return None


def _sets_variables(words: list[str]) -> bool:
    """Whether it sets variables of the environment for itself or for what follows."""
    return any(re.match(r"\w+\+?=", word) for word in words) and (
        all(re.match(r"\w+\+?=", word) for word in words)
        or words[0] in ("export", "declare", "typeset", "env")
    )


def _truncate(arguments: list[str]) -> str | None:
    return "it empties files" if any(re.match(r"-s0?$|--size=0$", word) for word in arguments) else None


_CHECKS: Final[dict[str, Callable[[list[str]], str | None]]] = {
    "rm": _rm, "find": _find, "chmod": _recursive, "chown": _recursive, "chgrp": _recursive, "kill": _kill,
    "git": _git, "systemctl": _services, "service": _services, "launchctl": _services, "docker": _containers,
    "podman": _containers, "init": _init, "telinit": _init, "truncate": _truncate,
    **dict.fromkeys(_INTERPRETERS - _SHELLS, _script),
}  # fmt: skip
