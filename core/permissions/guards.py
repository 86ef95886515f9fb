"""What always needs a question, in every mode, unless a rule names it.

Paths are compared as the kernel would find them, links resolved. That holds for the moment of asking only:
a link that is changed afterwards, and a hard link, are not seen here. A command that computes a path, or
reaches one from inside a program, is not seen either. This module must never open a file, nor decide.
"""

from __future__ import annotations

import ipaddress
import os
import re
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from core.base.secrets import is_secret_name, is_secret_path
from core.permissions.shell_parser import names

if TYPE_CHECKING:
    from collections.abc import Sequence


class Guard(Enum):
    """Why a call always asks; the value is shown to the person."""

    OUTSIDE = "it is outside the workspace"
    SECRET = "it may hold secrets"
    PROTECTED = "it decides what programs run later"
    DANGEROUS = "it is dangerous"
    PRIVATE = "it leads to this machine or its own network"
    UNREADABLE = "it cannot be read for sure"


_PROTECTED_NAMES = names(
    ".caesura.toml .mcp.json .gitconfig .gitmodules .bashrc .bash_profile .bash_login .bash_logout "
    ".bash_aliases .profile .zshrc .zshenv .zprofile .zlogin .zlogout .kshrc .cshrc .tcshrc .login .inputrc "
    ".envrc .vimrc .exrc config.fish .xprofile .xinitrc .xsessionrc .pythonrc"
)
_PROTECTED_FOLDERS = names(".git .husky .ssh .vscode .idea")

_HARMLESS_DEVICES = names("/dev/null /dev/stdin /dev/stdout /dev/stderr /dev/zero /dev/urandom")


def resolve(path: Path) -> Path | None:
    """The path with all links and `..` resolved, also where its end does not exist yet.

    None where that cannot be known: links in a circle, a name that no file can have, and whatever is reached
    through /proc, which is another place for each process.
    """
    text = os.path.normpath(path)
    if re.match(r"/+proc(/|$)", text):
        return None
    try:
        real = Path(os.path.realpath(path))
        return None if any(part.is_symlink() for part in (real, *real.parents)) else real
    except (OSError, ValueError):
        return None


def path_guards(path: Path, root: Path) -> frozenset[Guard]:
    """The guards of a resolved path, or of a pattern of paths; `root` is the workspace, resolved."""
    parts = [part.casefold() for part in path.parts]
    inside = path.is_relative_to(root)
    below = [part.casefold() for part in path.relative_to(root).parts] if inside else parts
    found = set[Guard]()
    if not inside:
        found.add(Guard.OUTSIDE)
    if is_secret_name(path.name) or is_secret_path(PurePath(*below)):
        found.add(Guard.SECRET)
    if (
        (parts and parts[-1] in _PROTECTED_NAMES)
        or not _PROTECTED_FOLDERS.isdisjoint(below)
        or path.is_relative_to(_own_folder())
    ):
        found.add(Guard.PROTECTED)
    return frozenset(found)


def _own_folder() -> Path:
    from core.base.folders import config_folder

    return Path(os.path.realpath(config_folder()))


def word_guards(command: Sequence[str], folder: Path, root: Path) -> frozenset[Guard]:
    """The guards of the paths that the words of a simple command seem to name; `folder` is where it runs."""
    words = command[1:]
    if tuple(command) == ("cd",):
        words = ("~",)
    elif command and "=" in command[0]:
        words = command  # it sets a variable for what follows
    named = {path for word in words for path in _named(word)}
    return frozenset[Guard]().union(*(_word_guards(path, folder, root) for path in named))


def _named(word: str) -> set[str]:
    """The paths that a word may name: the whole word, the part after `=` or after an option's letter, with
    variables expanded."""
    found = set[str]()
    for text in (word, word.partition("=")[2], re.sub(r"^-\w", "", word)):
        known = os.path.expandvars(text)
        # A variable that is not known here may well be empty there.
        found |= {known, re.sub(r"\$(\w+|\{\w+\})", "", known)}
    return {_from_home(text) for text in found if text} - _HARMLESS_DEVICES


def _from_home(text: str) -> str:
    try:
        return os.path.expanduser(text)  # noqa: PTH111 - a `~` of nobody stays as it is
    except ValueError:
        return text


def _word_guards(word: str, folder: Path, root: Path) -> frozenset[Guard]:
    if not _looks_like_a_path(word, folder):
        return frozenset()
    real = resolve(folder / word)
    return frozenset({Guard.OUTSIDE}) if real is None else path_guards(real, root)


def _looks_like_a_path(word: str, folder: Path) -> bool:
    if word.startswith("/"):
        # Also `/x/` of a sed command begins so; but nothing can be reached below what does not exist.
        top = f"/{word.strip('/').partition('/')[0]}"
        return bool(re.search(r"[*?\[{]", top)) or _exists(Path(top))
    return "/" in word or word.startswith(".") or is_secret_name(word) or _exists(folder / word)


def _exists(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:
        return True  # no file can have this name: `resolve` says what that means


_PRIVATE_NAMES = ("localhost", "*.localhost", "*.local", "*.internal", "*.lan", "*.home.arpa")


def host_guards(url: str) -> frozenset[Guard]:
    """The guards of a web address, or of a pattern of addresses. Names are not looked up here."""
    try:
        address = urlsplit(url)
        host = (address.hostname or "").rstrip(".")
        _ = address.port  # raises if it is none
    except ValueError:
        return frozenset({Guard.UNREADABLE})
    if not host or re.search(r"[\s\\]", url):
        return frozenset({Guard.UNREADABLE})
    try:
        private = not ipaddress.ip_address(host).is_global
    except ValueError:
        # Short and octal forms such as 127.1 and 0x7f.1 are addresses to some libraries.
        private = any(fnmatchcase(host, name) for name in _PRIVATE_NAMES) or bool(
            re.fullmatch(r"(0x[0-9a-f]+|\d+)(\.(0x[0-9a-f]+|\d+))*", host)
        )
    return frozenset({Guard.PRIVATE} if private else ())
