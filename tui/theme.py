"""Themes as data: a TOML file becomes a validated `CaesuraTheme`, and that a Textual theme.

A bad file must never crash the application or leave it without colours: every mistake becomes a sentence
that names the file, the key and the nearest valid key, and the default theme is used instead.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from textual.theme import BUILTIN_THEMES, Theme

import themes
from core.errors import CaesuraError

if TYPE_CHECKING:
    from collections.abc import Mapping

DARK = "caesura-dark"
LIGHT = "caesura-light"

_HEX = re.compile(r"#[0-9a-fA-F]{6}")
# Not `importlib.resources`, which costs 4 ms before the first frame; a wheel is always unpacked.
BUILTIN = Path(themes.__path__[0])

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


class ThemeError(CaesuraError):
    """A theme cannot be used. Its text names the file and every mistake in it."""


@dataclass(frozen=True, slots=True)
class Palette:
    """The required `[colors]`, each `#rrggbb`; the names are Textual's."""

    primary: str
    secondary: str
    accent: str
    background: str
    surface: str
    panel: str
    foreground: str
    success: str
    warning: str
    error: str


@dataclass(frozen=True, slots=True)
class Roles:
    """Our own colours, the optional `[variables]`; in CSS each is `$` and its name with hyphens.

    `muted` is secondary text, `reasoning` the model's reasoning, `user_prompt` what the user said,
    `notice_stopped` the notice after a stop, `border` a border with and `border_blurred` one without focus,
    `selection` the background of selected text.
    """

    muted: str
    reasoning: str
    user_prompt: str
    notice_stopped: str
    border: str
    border_blurred: str
    selection: str


@dataclass(frozen=True, slots=True)
class CaesuraTheme:
    """One theme, checked."""

    name: str
    dark: bool
    colors: Palette
    roles: Roles

    def to_textual(self) -> Theme:
        return Theme(
            name=self.name,
            dark=self.dark,
            **{field.name: getattr(self.colors, field.name) for field in fields(Palette)},
            variables=_css_variables(self.colors, self.roles),
        )


class LoadedThemes(NamedTuple):
    """What was found: the usable themes, and one sentence per theme that is not."""

    themes: tuple[CaesuraTheme, ...]
    errors: tuple[str, ...]


class ChosenTheme(NamedTuple):
    """A theme that can be applied in any case, and why it is not the one asked for."""

    theme: Theme
    error: str | None = None


def parse_theme(text: str, source: str) -> CaesuraTheme:
    """Read one theme. `source` is the file as errors name it. Raises `ThemeError`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ThemeError(f"Theme {source} is not valid TOML: {error}.") from None
    return _Reader(source).read(document)


def load_builtin(name: str, folder: Path = BUILTIN) -> CaesuraTheme:
    """The theme that ships under this name. Raises `ThemeError` if there is none or it is broken."""
    if _NAME.fullmatch(name) and (file := folder / f"{name}.toml").is_file():
        return _load(file)
    known = sorted(file.stem for file in folder.glob("*.toml"))
    raise ThemeError(f"There is no theme {name!r}{_nearest(name, known)}.")


def load_all(folder: Path = BUILTIN) -> LoadedThemes:
    """Every theme that ships; a broken one costs only itself."""
    found: dict[str, CaesuraTheme] = {}
    errors: list[str] = []
    for file in sorted(folder.glob("*.toml")):
        try:
            theme = _load(file)
        except ThemeError as error:
            errors.append(str(error))
            continue
        if theme.name in found:
            errors.append(f"Theme {file.name}: the name {theme.name!r} is taken by another file.")
        else:
            found[theme.name] = theme
    return LoadedThemes(tuple(found.values()), tuple(errors))


def choose_theme(name: str, folder: Path = BUILTIN) -> ChosenTheme:
    """The theme of this name, else the default one, else Textual's own: there is always one to apply."""
    errors: list[str] = []
    for candidate in dict.fromkeys((name, DARK)):
        try:
            return ChosenTheme(load_builtin(candidate, folder).to_textual(), "\n".join(errors) or None)
        except ThemeError as error:
            errors.append(f"{error} The default theme is used.")
    return ChosenTheme(BUILTIN_THEMES["textual-dark"], "\n".join(errors))


def default_css_variables(theme: Theme) -> dict[str, str]:
    """For `App.get_theme_variable_defaults`: CSS with our variables also loads under a foreign theme."""
    made = theme.to_color_system().generate()
    return {
        "muted": made["foreground-muted"],
        "reasoning": made["foreground-muted"],
        "user-prompt": made["accent"],
        "notice-stopped": made["warning"],
    }


def _css_variables(colors: Palette, roles: Roles) -> dict[str, str]:
    """Our variables, and those of Textual that have to agree with them.

    Textual would derive `text-...` and the muted text itself, into colours that are not always legible.
    """
    own = {field.name.replace("_", "-"): getattr(roles, field.name) for field in fields(Roles)}
    selection = own.pop("selection")
    texts = ("primary", "secondary", "accent", "success", "warning", "error")
    return {
        **own,
        **{f"text-{name}": getattr(colors, name) for name in texts},
        **{f"scrollbar-background{state}": colors.surface for state in ("", "-hover", "-active")},
        **{f"scrollbar{state}": roles.border_blurred for state in ("", "-hover", "-active")},
        "foreground-muted": roles.muted,
        "text-muted": roles.muted,
        "input-selection-background": selection,
        "screen-selection-background": selection,
    }


def _load(file: Path) -> CaesuraTheme:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ThemeError(f"Theme {file.name} cannot be read: {error}.") from None
    return parse_theme(text, file.name)


def _nearest(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else f" (known: {', '.join(known)})"


class _Reader:
    """Reads one document and collects every mistake, so that a person mends the file once."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._mistakes: list[str] = []

    def read(self, document: Mapping[str, object]) -> CaesuraTheme:
        self._refuse_unknown(document, ["name", "dark", "colors", "variables"], "")
        name = document.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            self._mistakes.append("name must be a text of small letters, digits and hyphens")
        dark = document.get("dark")
        if not isinstance(dark, bool):
            self._mistakes.append("dark must be true or false")
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
        roles = _default_roles(palette) | {key.replace("-", "_"): value for key, value in given.items()}
        return CaesuraTheme(str(name), bool(dark), palette, Roles(**roles))

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


def _default_roles(palette: Palette) -> dict[str, str]:
    muted = _mix(palette.foreground, palette.background, 0.35)
    return {
        "muted": muted,
        "reasoning": muted,
        "user_prompt": palette.accent,
        "notice_stopped": palette.warning,
        "border": palette.primary,
        "border_blurred": _mix(palette.foreground, palette.background, 0.7),
        "selection": _mix(palette.primary, palette.background, 0.6),
    }


def _mix(color: str, other: str, share: float) -> str:
    """`share` of the other colour in this one; both `#rrggbb`."""
    pairs = ((int(color[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)
