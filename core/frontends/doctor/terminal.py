"""The doctor's checks of the terminal: its abilities, and how long it holds an Esc back.

They use the environment and the given facts; none writes to the terminal.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from core.base.values import Value
from core.frontends.doctor.report import Check, Finding, State, blocking_check

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_SIZE: Final = (40, 10)
TMUX_ESCAPE_MS: Final = 50
"""A person notices a multiplexer that holds an Esc for longer, in milliseconds."""

_TMUX_WITHIN_S: Final = 2.0
_KITTY_NAMES: Final = ("kitty", "ghostty", "wezterm", "foot", "alacritty", "iterm", "rio", "warp")
"""Terminals whose present versions report keys in full, by parts of what they call themselves."""


class TerminalFacts(Value):
    """`size` is columns and lines, None where there is no terminal; `encoding` that of the output. `kitty`
    says whether it reports keys by kitty's protocol, None if nobody has asked it. `escape_wait_s` is how long
    a lone Esc is waited for before it counts."""

    environment: Mapping[str, str]
    size: tuple[int, int] | None
    encoding: str = ""
    kitty: bool | None = None
    escape_wait_s: float = 0.0


def terminal_checks(facts: TerminalFacts) -> tuple[Check, ...]:
    return _terminal(facts), _characters(facts), _keyboard(facts)


@blocking_check("Terminal")
def _terminal(facts: TerminalFacts) -> Finding:
    environment = facts.environment
    name = environment.get("TERM", "")
    words = [f"TERM is {name}" if name else "TERM is not set", _colours(environment)]
    if program := environment.get("TERM_PROGRAM"):
        words.insert(1, program)
    if facts.size is not None:
        words.append("{} columns, {} lines".format(*facts.size))
    told = ", ".join(words)
    if facts.size is None:
        return Finding("Terminal", State.WARNING, f"{told}; the output is no terminal")
    if name in ("", "dumb"):
        advice = "A screen cannot be shown here: start Caesura in another terminal, or use `caesura run`."
        return Finding("Terminal", State.BAD if name else State.WARNING, told, advice)
    if facts.size[0] < LEAST_SIZE[0] or facts.size[1] < LEAST_SIZE[1]:
        advice = "Make it larger: below {} columns and {} lines much is cut.".format(*LEAST_SIZE)
        return Finding("Terminal", State.WARNING, told, advice)
    return Finding("Terminal", State.GOOD, told)


def _colours(environment: Mapping[str, str]) -> str:
    name = environment.get("TERM", "")
    if environment.get("NO_COLOR"):
        return "no colours (NO_COLOR is set)"
    if name in ("", "dumb", "vt100"):
        return "no colours"
    if environment.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return "16.7 million colours"
    if name.endswith(("-direct", "-truecolor")) or "kitty" in name or "ghostty" in name:
        return "16.7 million colours"
    if "256" in name:
        return "256 colours"
    return "16 colours or fewer"


@blocking_check("Characters")
def _characters(facts: TerminalFacts) -> Finding:
    environment = facts.environment
    variable = next((name for name in ("LC_ALL", "LC_CTYPE", "LANG") if environment.get(name)), "")
    locale = environment.get(variable, "")
    told = f"{variable} is {locale}" if variable else "no locale is set"
    if facts.encoding:
        told += f", the output is {facts.encoding}"
    is_utf8 = "utf8" in locale.lower().replace("-", "")
    writes_utf8 = facts.encoding.lower().replace("-", "") in ("utf8", "")
    # Python writes UTF-8 without a locale too; a terminal that is told of no other one usually reads it.
    if writes_utf8 and (is_utf8 or facts.encoding):
        return Finding("Characters", State.GOOD, told)
    advice = "Set LANG to a UTF-8 locale, such as C.UTF-8: else frames and glyphs are question marks."
    return Finding("Characters", State.WARNING, told, advice)


@blocking_check("Keyboard")
def _keyboard(facts: TerminalFacts) -> Finding:
    environment = facts.environment
    words = [_kitty(facts)]
    wait_ms = facts.escape_wait_s * 1000
    words.append(f"Esc is waited for {wait_ms:g} ms" if wait_ms else "Esc counts at once")
    if environment.get("SSH_CONNECTION") or environment.get("SSH_TTY"):
        words.append("over SSH")
    state, advice = State.GOOD, ""
    if environment.get("TMUX"):
        delay = tmux_escape_ms()
        words.append("in tmux" if delay is None else f"in tmux, which keeps an Esc for {delay} ms")
        if delay is None or delay > TMUX_ESCAPE_MS:
            state = State.WARNING
            advice = "Let tmux hand Esc on at once: `set -sg escape-time 10` in ~/.tmux.conf."
    elif environment.get("STY") or environment.get("TERM", "").startswith("screen"):
        words.append("in screen, which may keep an Esc back")
        state = State.WARNING
        advice = "Let screen hand Esc on at once: `maptimeout 10` in ~/.screenrc."
    return Finding("Keyboard", state, ", ".join(words), advice)


def _kitty(facts: TerminalFacts) -> str:
    environment = facts.environment
    if facts.kitty is not None:
        return "keys are reported in full" if facts.kitty else "keys are reported the old way"
    if environment.get("TMUX") or environment.get("STY"):
        return "keys come through a multiplexer"
    told = f"{environment.get('TERM', '')} {environment.get('TERM_PROGRAM', '')}".lower()
    if any(name in told for name in _KITTY_NAMES):
        return "a terminal that can report keys in full"
    return "whether keys are reported in full is not known"


def tmux_escape_ms() -> int | None:
    """How long tmux waits behind an Esc, in milliseconds; None if it does not say. Blocking."""
    program = shutil.which("tmux")
    if program is None:
        return None
    try:
        told = subprocess.run(
            [program, "show-options", "-sv", "escape-time"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TMUX_WITHIN_S,
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return int(told) if told.isascii() and told.isdigit() else None
