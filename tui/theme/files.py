"""Themes as data: a TOML file becomes a validated `CaesuraTheme`.

A file is found by its name, `NAME.toml`, so that the theme of the first frame costs one file, however many
there are. The user's folder takes precedence over ours: `caesura-dark.toml` there is their own dark theme,
for `auto` too.

It must never wait for a file (a pipe is refused), read more than `LONGEST` bytes of one, or let a bad file
affect others: every mistake becomes a sentence that names the file, the key and the nearest valid key.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import themes
from core.base.errors import CaesuraError
from core.base.regular_file import FileTooLarge, NotRegularFile, read_regular
from tui.theme.palette import CaesuraTheme, Palette, Roles

if TYPE_CHECKING:
    from collections.abc import Mapping

AUTO = "auto"
"""Not the name of a theme: it stands for the one that fits the terminal."""

# Not `importlib.resources`, which costs 4 ms before the first frame; a wheel is always unpacked.
BUILTIN = Path(themes.__path__[0])

LONGEST = 1 << 16
"""The maximum size of a file, in bytes."""
MOST = 200
"""The maximum number of files read from a folder, in the order of their names."""
LONGEST_DESCRIPTION = 80

_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


class ThemeError(CaesuraError):
    """A theme cannot be used. The text names the file and every mistake in it."""


class FoundTheme(NamedTuple):
    """A theme and whether it is the user's own."""

    theme: CaesuraTheme
    own: bool


class LoadedThemes(NamedTuple):
    """The usable themes by name, and one sentence per unusable file."""

    found: tuple[FoundTheme, ...]
    errors: tuple[str, ...]


def parse_theme(text: str, source: str) -> CaesuraTheme:
    """Read one theme. `source` is the file as errors name it. Raises `ThemeError`."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ThemeError(f"Theme {source} is not valid TOML: {str(error).rstrip('.')}.") from None
    return _Reader(source).read(document)


def load_theme(name: str, own: Path | None = None, folder: Path = BUILTIN) -> CaesuraTheme:
    """The theme of this name; the user's `own` takes precedence over the one that ships in `folder`.

    Raises `ThemeError` if there is none, or if the first one found is broken.
    """
    if _NAME.fullmatch(name) and name != AUTO:
        for place in (own, folder):
            file = place / f"{name}.toml" if place is not None else None
            # A dangling link has to be reported.
            if file is not None and (file.is_symlink() or file.exists()):
                return _load(file)
    raise ThemeError(f"There is no theme {name!r}{_nearest(name, theme_names(own, folder))}.")


def theme_names(own: Path | None = None, folder: Path = BUILTIN) -> list[str]:
    """The names of all files. None is opened, so some may be broken."""
    stems = {stem for place in (own, folder) if place is not None for stem in _stems(place)}
    return sorted(stem for stem in stems if _NAME.fullmatch(stem) and stem != AUTO)


def load_all(own: Path | None = None, folder: Path = BUILTIN) -> LoadedThemes:
    """All themes; reads a file for each, so call it in a thread."""
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


def _load(file: Path) -> CaesuraTheme:
    """Read a regular file, or a link to one."""
    try:
        text = read_regular(file, LONGEST).decode("utf-8")
    except NotRegularFile:
        reason = "it is not a regular file"
    except FileTooLarge:
        reason = f"it is larger than {LONGEST // 1024} KiB"
    except (OSError, UnicodeDecodeError) as error:
        reason = str(error)
    else:
        return parse_theme(text, file.name)
    raise ThemeError(f"Theme {file.name} cannot be read: {reason}.")


def _nearest(key: str, known: list[str]) -> str:
    import difflib  # only mistakes need it

    near = difflib.get_close_matches(key, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else f" (known: {', '.join(known)})"


class _Reader:
    """Reads one document and collects every mistake, so that a user can fix all of them at once."""

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
        known_colors = list(Palette.__struct_fields__)
        known_roles = [name.replace("_", "-") for name in Roles.__struct_fields__]
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
        """The name of the file; a name in the document must be the same."""
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
