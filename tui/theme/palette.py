"""What a theme is: its checked colors, and how they become a Textual theme.

Every color that our CSS names is set here and none is left for Textual to derive: derived colors are not
always legible.
"""

from __future__ import annotations

from msgspec.structs import asdict
from textual.theme import Theme

from core.base.values import Value


class Palette(Value):
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


class Roles(Value):
    """Our own colors, the optional `[variables]`; in CSS each is `$` and its name with hyphens.

    `muted` is secondary text, `reasoning` the model's reasoning, `user_prompt` the user's prompts,
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
        """The `given` colors, and the others from the palette."""
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


class CaesuraTheme(Value):
    """One checked theme. `description` is a few words for the list of themes, or empty."""

    name: str
    dark: bool
    colors: Palette
    roles: Roles
    description: str = ""

    def to_textual(self) -> Theme:
        """The theme with our variables, and Textual's variables that have to agree with them."""
        colors, roles = asdict(self.colors), asdict(self.roles)
        selection = roles.pop("selection")
        texts = ("primary", "secondary", "accent", "success", "warning", "error")
        variables = {
            **{name.replace("_", "-"): color for name, color in roles.items()},
            **{f"text-{name}": colors[name] for name in texts},
            **{f"scrollbar-background{state}": self.colors.surface for state in ("", "-hover", "-active")},
            **{f"scrollbar{state}": self.roles.border_blurred for state in ("", "-hover", "-active")},
            "foreground-muted": self.roles.muted,
            "text-muted": self.roles.muted,
            "input-selection-background": selection,
            "screen-selection-background": selection,
        }
        return Theme(name=self.name, dark=self.dark, variables=variables, **colors)


def default_css_variables(theme: Theme) -> dict[str, str]:
    """Variables for `App.get_theme_variable_defaults`: our CSS also loads under a foreign theme."""
    made = theme.to_color_system().generate()
    return {
        "muted": made["foreground-muted"],
        "reasoning": made["foreground-muted"],
        "user-prompt": made["accent"],
        "notice-stopped": made["warning"],
    }


def _mix(color: str, other: str, share: float) -> str:
    """Mix `share` of the other color into this one; both `#rrggbb`."""
    pairs = ((int(color[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)
