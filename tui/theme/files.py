"""Themes as data: a TOML file becomes a validated `CaesuraTheme`.

A file is found by its name, `NAME.toml`, so that the one theme that the first frame needs costs one file,
however many there are. The person's folder goes before ours: `caesura-dark.toml` there is a dark theme of
their own, for `auto` too.

What it must never do: wait for a file (a pipe is none), read more than `LONGEST` bytes of one, or let a bad
file cost more than itself: every mistake becomes a sentence that names the file, the key and the nearest
valid key.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import themes
from core.errors import CaesuraError
from tui.theme_palette import CaesuraTheme, Palette, Roles

if TYPE_CHECKING:
    from collections.abc import Mapping

AUTO = "auto"
"""No theme's name: it stands for the one that fits the terminal."""

# Not `importlib.resources`, which costs 4 ms before the first frame; a wheel is always unpacked.
BUILTIN = Path(themes.__path__[0])

LONGEST = 1 << 16
"""Bytes of a file."""
MOST = 200
"""Files of a folder that are looked at, in the order of their names."""
LONGEST_DESCRIPTION = 80

_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


class ThemeError(CaesuraError):
    """A theme cannot be used. Its text names the file and every mistake in it."""


class FoundTheme(NamedTuple):
    """A theme and whether it is the person's own."""

    theme: CaesuraTheme
    own: bool


class LoadedThemes(NamedTuple):
    """What was found, by name: the usable themes, and one sentence per file that is of no use."""

    found: tuple[FoundTheme, ...]
    errors: tuple[str, ...]

    @property
    def themes(self) -> tuple[CaesuraTheme, ...]:
        return tuple(found.theme for found in self.found)


def parse_theme(text: str, source: str) -> CaesuraTheme:
    """Read one theme. `source` is the file as errors name it. Raises `ThemeError`."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ThemeError(f"Theme {source} is not valid TOML: {str(error).rstrip('.')}.") from None
    return _Reader(source).read(document)


def load_theme(name: str, own: Path | None = None, folder: Path = BUILTIN) -> CaesuraTheme:
    """The theme of this name, the person's `own` before the one that ships in `folder`.

    Raises `ThemeError` if there is none, or if the first that there is is broken.
    """
    if _NAME.fullmatch(name) and name != AUTO:
        for place in (own, folder):
            if place is not None and _is_there(file := place / f"{name}.toml"):
                return _load(file)
    raise ThemeError(f"There is no theme {name!r}{_nearest(name, theme_names(own, folder))}.")


def load_builtin(name: str, folder: Path = BUILTIN) -> CaesuraTheme:
    """The theme that ships under this name. Raises `ThemeError` if there is none or it is broken."""
    return load_theme(name, None, folder)


def theme_names(own: Path | None = None, folder: Path = BUILTIN) -> list[str]:
    """The names of all files, of which none is opened: some may be broken."""
    stems = {stem for place in (own, folder) if place is not None for stem in _stems(place)}
    return sorted(stem for stem in stems if _NAME.fullmatch(stem) and stem != AUTO)


def load_all(own: Path | None = None, folder: Path = BUILTIN) -> LoadedThemes:
    """Every theme there is; reads a file for each, so it is for a thread."""
    found: dict[str, FoundTheme] = {}
    errors: list[str] = []
    for place in (own, folder):
        for stem in [] if place is None else _stems(place):
            if stem in found:
                continue
            try:
                assert place is not None
                found[stem] = FoundTheme(_load(place / f"{stem}.toml"), own=place is own)
            except ThemeError as error:
                errors.append(str(error))
    return LoadedThemes(tuple(found[name] for name in sorted(found)), tuple(errors))


def _stems(folder: Path) -> list[str]:
    try:
        return sorted(file.stem for file in folder.glob("*.toml") if not file.name.startswith("."))[:MOST]
    except OSError:
        return []


def _is_there(file: Path) -> bool:
    """Something is, even if it is a dangling link, which has to be told."""
    return file.is_symlink() or file.exists()


def _load(file: Path) -> CaesuraTheme:
    try:
        text = _read(file)
    except (OSError, UnicodeDecodeError) as error:
        raise ThemeError(f"Theme {file.name} cannot be read: {error}.") from None
    return parse_theme(text, file.name)


def _read(file: Path) -> str:
    """A regular file, or a link to one. Opening a pipe would wait for a writer without the flag."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as handle:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ThemeError(f"Theme {file.name} cannot be read: it is not a regular file.")
        data = handle.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise ThemeError(f"Theme {file.name} cannot be read: it is larger than {LONGEST // 1024} KiB.")
    return data.decode("utf-8")


def _nearest(key: str, known: list[str]) -> str:
    import difflib  # only a mistake needs it

    near = difflib.get_close_matches(key, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else f" (known: {', '.join(known)})"


class _Reader:
    """Reads one document and collects every mistake, so that a person mends the file once."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._mistakes: list[str] = []

    def read(self, document: Mapping[str, object]) -> CaesuraTheme:
        self._refuse_unknown(document, ["name", "dark", "description", "colors", "variables"], "")
        name = self._name(document)
        dark = document.get("dark")
        if not isinstance(dark, bool):
            self._mistakes.append("dark must be true or false")
        description = self._description(document)
        colors = self._table(document, "colors")
        variables = self._table(document, "variables")
        known_colors = [field.name for field in fields(Palette)]
        known_roles = [field.name.replace("_", "-") for field in fields(Roles)]
        self._refuse_unknown(colors, known_colors, "[colors] ")
        self._refuse_unknown(variables, known_roles, "[variables] ")
        hexes = {key: self._color(colors, key, "[colors] ") for key in known_colors}
        given = {key: self._color(variables, key, "[variables] ") for key in known_roles if key in variables}
        if self._mistakes:
            raise ThemeError(f"Theme {self._source}: {'; '.join(self._mistakes)}.")
        palette = Palette(**hexes)
        roles = Roles.of(palette, **{key.replace("-", "_"): value for key, value in given.items()})
        return CaesuraTheme(name, bool(dark), palette, roles, description)

    def _name(self, document: Mapping[str, object]) -> str:
        """That of the file; said in the file too, it must be the same."""
        stem = Path(self._source).stem
        if not _NAME.fullmatch(stem):
            self._mistakes.append("the file's name must be of small letters, digits and hyphens, at most 40")
        elif stem == AUTO:
            self._mistakes.append(f"{AUTO!r} stands for what fits the terminal: give the file another name")
        elif (name := document.get("name", stem)) != stem:
            self._mistakes.append(f"name {name!r} must be {stem!r}, as the file is called, or be left out")
        return stem

    def _description(self, document: Mapping[str, object]) -> str:
        text = document.get("description", "")
        if isinstance(text, str) and len(text) <= LONGEST_DESCRIPTION and (text.isprintable() or not text):
            return text
        self._mistakes.append(f"description must be one line of at most {LONGEST_DESCRIPTION} characters")
        return ""

    def _table(self, document: Mapping[str, object], key: str) -> Mapping[str, object]:
        table = document.get(key, {})
        if isinstance(table, dict):
            return table
        self._mistakes.append(f"{key} must be a table, [{key}]")
        return {}

    def _refuse_unknown(self, table: Mapping[str, object], known: list[str], where: str) -> None:
        self._mistakes += [
            f"{where}{key} is unknown{_nearest(key, known)}" for key in table if key not in known
        ]

    def _color(self, table: Mapping[str, object], key: str, where: str) -> str:
        value = table.get(key)
        if value is None:
            self._mistakes.append(f"{where}{key} is missing")
        elif not isinstance(value, str) or not _HEX.fullmatch(value):
            self._mistakes.append(f"{where}{key} {value!r} is not a colour such as '#1a2b3c'")
        return str(value)
