"""What a theme is: its colours, checked, and how they become a Textual theme.

Every colour that our CSS names is given here, none is left for Textual to derive: what it derives is not
always legible.
"""

from __future__ import annotations

from dataclasses import fields

from textual.theme import Theme

from core.values import dataclass


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

    @classmethod
    def of(cls, palette: Palette, **given: str) -> Roles:
        """Those that are `given`, the rest from the palette."""
        muted = _mix(palette.foreground, palette.background, 0.35)
        derived = {
            "muted": muted,
            "reasoning": muted,
            "user_prompt": palette.accent,
            "notice_stopped": palette.warning,
            "border": palette.primary,
            "border_blurred": _mix(palette.foreground, palette.background, 0.7),
            "selection": _mix(palette.primary, palette.background, 0.6),
        }
        return cls(**derived | given)


@dataclass(frozen=True, slots=True)
class CaesuraTheme:
    """One theme, checked. `description` is a few words for the list of themes, or empty."""

    name: str
    dark: bool
    colors: Palette
    roles: Roles
    description: str = ""

    def to_textual(self) -> Theme:
        return Theme(
            name=self.name,
            dark=self.dark,
            **{field.name: getattr(self.colors, field.name) for field in fields(Palette)},
            variables=_css_variables(self.colors, self.roles),
        )


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
    """Our variables, and those of Textual that have to agree with them."""
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


def _mix(color: str, other: str, share: float) -> str:
    """`share` of the other colour in this one; both `#rrggbb`."""
    pairs = ((int(color[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)
