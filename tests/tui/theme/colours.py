"""How colours are seen, and which of them stand on which: for the tests of the themes.

The pairs come from the CSS as it is written: whoever adds a colour to a widget has it checked in every theme.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.color import Color as RichColor
from rich.terminal_theme import TerminalTheme
from textual.color import Color

import tui

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.color import ColorSystem
    from textual.theme import Theme

SOURCES: Final = Path(tui.__path__[0])

Matrix = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

VISIONS: Final[dict[str, Matrix]] = {
    "normal": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
"""What is left of a colour, in linear light: the matrices of Machado, Oliveira and Fernandes (2009), severity
1."""

_LIT = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1))
_DIM = [(170 * red, 170 * green, 170 * blue) for red, green, blue in _LIT]
_DIM[3] = (170, 85, 0)
_BRIGHT = [(85 + 170 * red, 85 + 170 * green, 85 + 170 * blue) for red, green, blue in _LIT]
_SIXTEEN: Final = TerminalTheme((0, 0, 0), (255, 255, 255), _DIM, _BRIGHT)
"""The sixteen colours of a plain terminal."""

_NOT_TEXT: Final = frozenset({".transcript--rule"})
_EXPRESSION = re.compile(r"\$(?P<name>[a-z-]+)(?: (?P<share>\d+)%)?")
_STYLE = re.compile(r"(?:(?:bold|italic|underline|reverse) )*\$[a-z-]+(?: \d+%)?(?: on \$[a-z-]+)?")


@dataclass(frozen=True)
class Pair:
    """A colour of text on a background, as CSS names them; `where` it was found."""

    color: str
    background: str
    where: str = field(compare=False)


def contrast(one: Color, other: Color) -> float:
    """The ratio of WCAG 2, 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def distance(one: Color, other: Color, vision: Matrix) -> float:
    """How different two colours look, in CIE Lab; some 2 is what the eye just notices."""
    first, second = (_lab(color, vision) for color in (one, other))
    return float(sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) ** 0.5)


def downgraded(color: Color, system: ColorSystem) -> Color:
    """What a terminal of 16 or 256 colours shows."""
    shown = RichColor.from_rgb(*color.rgb).downgrade(system)
    return Color(*shown.get_truecolor(_SIXTEEN))


class Colours:
    """The colours of a theme, as CSS gets them."""

    def __init__(self, theme: Theme) -> None:
        self._made = theme.to_color_system().generate() | theme.variables

    def background(self, expression: str) -> Color:
        return self._color(expression, Color(0, 0, 0))

    def text(self, pair: Pair) -> tuple[Color, Color]:
        """Text and background as they are painted."""
        background = self.background(pair.background)
        return self._color(pair.color, background), background

    def _color(self, expression: str, background: Color) -> Color:
        found = _EXPRESSION.fullmatch(expression)
        assert found is not None, expression
        color = Color.parse(self._made[found["name"]])
        share = int(found["share"] or 100) / 100
        return background + color.with_alpha(color.a * share)


@cache
def text_pairs() -> list[Pair]:
    """Every colour of text in the package with every background that it may stand on, each once."""
    pairs: dict[Pair, None] = {}
    for file in sorted(SOURCES.rglob("*.py")):
        for text in _strings(file):
            if "{" in text and re.search(r"color: \$|background: \$", text):
                pairs |= dict.fromkeys(_pairs_of_css(text))
            elif _STYLE.fullmatch(text):
                pairs |= dict.fromkeys(_pairs_of_style(text, file.name))
    return list(pairs)


@cache
def focus_borders() -> set[str]:
    """The colours of the frames that show what has the focus."""
    texts = "".join(text for file in SOURCES.rglob("*.py") for text in _strings(file) if "{" in text)
    return set(re.findall(r"&:focus(?::nocolor)? \{\s*border: \w+ (\$[a-z-]+);", texts))


def _strings(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "$" in node.value:
            yield node.value


def _pairs_of_style(style: str, where: str) -> Iterator[Pair]:
    color, _, background = style.partition(" on ")
    color = color[color.index("$") :]
    for place in (background,) if background else ("$background", "$surface"):
        yield Pair(color, place, where)


@dataclass
class _Rule:
    selector: str
    declared: dict[str, str] = field(default_factory=dict)
    inside: list[_Rule] = field(default_factory=list)

    def walk(self) -> Iterator[_Rule]:
        yield self
        for rule in self.inside:
            yield from rule.walk()


def _pairs_of_css(css: str) -> Iterator[Pair]:
    """Text without a background of its own may stand on any that its widget has."""
    for widget in _rules(css):
        plain = [rule.declared["background"] for rule in widget.walk() if _is_plain(rule, widget)]
        for rule in widget.walk():
            for key in ("color", "border-title-color", "border-subtitle-color"):
                color = rule.declared.get(key, "")
                if not color or rule.selector.rpartition(" ")[2] in _NOT_TEXT:
                    continue
                own = [rule.declared["background"]] if "background" in rule.declared else []
                for background in (own if key == "color" else []) or plain or ["$background"]:
                    yield Pair(color, background, f"{widget.selector} {rule.selector}")


def _is_plain(rule: _Rule, widget: _Rule) -> bool:
    return "background" in rule.declared and (rule is widget or "color" not in rule.declared)


def _rules(css: str) -> list[_Rule]:
    root = _Rule("")
    stack = [root]
    for found in re.finditer(r"([^{};]*)([{};])", css):
        words = " ".join(found[1].split())
        if found[2] == "{":
            stack[-1].inside.append(_Rule(words))
            stack.append(stack[-1].inside[-1])
            continue
        key, colon, value = words.partition(": ")
        if colon and _EXPRESSION.fullmatch(value):
            stack[-1].declared[key] = value
        if found[2] == "}":
            stack.pop()
    return root.inside


def _linear(part: int) -> float:
    share = part / 255
    return share / 12.92 if share <= 0.04045 else float(((share + 0.055) / 1.055) ** 2.4)


def _luminance(color: Color) -> float:
    red, green, blue = map(_linear, color.rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _lab(color: Color, vision: Matrix) -> tuple[float, float, float]:
    light = [_linear(part) for part in color.rgb]
    red, green, blue = (
        min(1.0, max(0.0, sum(weight * part for weight, part in zip(row, light, strict=True))))
        for row in vision
    )
    x, y, z = (
        _cube_root((0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047),
        _cube_root(0.2126 * red + 0.7152 * green + 0.0722 * blue),
        _cube_root((0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883),
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _cube_root(part: float) -> float:
    return float(part ** (1 / 3)) if part > 0.008856 else 7.787 * part + 16 / 116
