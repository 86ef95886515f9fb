"""Tools as seen from outside: calls for a scripted model to make, the panel and the cards as a person reads
and clicks them, and the processes of a workspace.

What it must never do: know anything of a call but its words on the screen, its result on the wire and its
processes in the table.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import tomli_w

from tests.servers.conversation import Role
from tests.servers.script import Call, Script
from tests.support.waiting import GENEROUS_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tests.servers.conversation import SentResult
    from tests.servers.record import Request
    from tests.support.program import Caesura

STOP: Final = "[stop]"
KILL: Final = "[kill]"
LOST_S: Final = 10.0
"""After that the keys of a way have been handled, and it was the wrong way."""
TRIES: Final = 12
_CARD_MARKS: Final = "◌●?✓✗⊘■○!"


def call(name: str, /, **arguments: object) -> Call:
    """A call with an id of its own."""
    return Call(f"call_{uuid.uuid4().hex[:12]}", name, (json.dumps(arguments),))


def shell(command: str, **more: object) -> Call:
    return call("shell", command=command, **more)


def calls(*made: Call, text: str = "I run it.") -> Script:
    """A reply that makes these calls."""
    return Script(text=(text,), calls=made)


def last_results(request: Request) -> tuple[SentResult, ...]:
    """The results that a request ends with; none if it ends with a prompt."""
    last = request.conversation.messages[-1]
    return last.results if last.role is Role.RESULTS else ()


def write_config(home: Path, *, containment: str = "auto", allow: Collection[str] = ()) -> None:
    """Settings for a program that is going to be started in `home`; `allow` are command lines."""
    folder = home / "config" / "caesura"
    folder.mkdir(parents=True)
    settings = {
        "tools": {"containment": containment},
        "permissions": {"allow": [f"shell({command})" for command in allow]},
    }
    (folder / "config.toml").write_text(tomli_w.dumps(settings))


def commands_in(folder: Path, program: str) -> dict[int, str]:
    """Whoever runs `program` in `folder`, by pid, also within a namespace of its own: its command line."""
    found = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                if (directory / "cwd").readlink() == folder:
                    words = (directory / "cmdline").read_bytes().rstrip(b"\0").decode().split("\0")
                    if words[0] == program:
                        found[int(directory.name)] = " ".join(words)
            except OSError:
                # It has ended since.
                continue
    return found


@dataclass(frozen=True, slots=True)
class PanelRow:
    """One operation of the panel: its text, what its button says, and a cell of the button."""

    text: str
    button: str
    at: tuple[int, int]
    selected: bool

    @property
    def command(self) -> str:
        """What stands behind the name `shell`; its end may be cut off."""
        return self.text.partition("shell")[2].strip()


def panel_rows(screen: list[str]) -> list[PanelRow] | None:
    """The operations in the panel, from top to bottom; None while it is closed."""
    top = next((y for y, line in enumerate(screen) if "╭─ Running" in line), None)
    if top is None:
        return None
    left = screen[top].index("╭─ Running")
    rows: list[PanelRow] = []
    for y in range(top + 1, len(screen)):
        line = screen[y][left:]
        if not line.startswith("│"):
            break
        inner = line[1:].rstrip().removesuffix("│").rstrip(" ▁▂▃▄▅▆▇█")
        button = next((button for button in (STOP, KILL) if inner.endswith(button)), None)
        if button is not None:
            x = left + line.rindex(button) + 1
            rows.append(PanelRow(inner.removesuffix(button), button, (x, y), inner.startswith("›")))
        elif inner.strip() and rows:
            last = rows[-1]
            rows[-1] = PanelRow(f"{last.text}{inner}", last.button, last.at, last.selected)
    return rows


class Panel:
    """The panel of a running program."""

    def __init__(self, app: Caesura) -> None:
        self._app = app

    def open(self) -> None:
        """Open it, if it is not, and give it the keys."""
        self._app.terminal.press("ctrl+t")
        self._app.wait_for(lambda screen: panel_rows(screen) is not None and "Esc closes" in screen[-1])

    def close(self) -> None:
        """Close it, whether or not it has the keys."""
        if "Esc closes" not in self._app.status:
            self.open()
        self._app.terminal.press("escape")
        self._app.wait_for(lambda screen: panel_rows(screen) is None)

    def rows(self) -> list[PanelRow]:
        return panel_rows(self._app.frame()) or []

    def wait(
        self, predicate: Callable[[list[PanelRow]], bool], *, timeout: float = GENEROUS_S
    ) -> list[PanelRow]:
        """Wait for a state of the open panel; its rows then."""
        found: list[PanelRow] = []

        def reached(screen: list[str]) -> bool:
            nonlocal found
            rows = panel_rows(screen)
            found = rows or []
            return rows is not None and predicate(rows)

        self._app.wait_for(reached, timeout=timeout)
        return found

    def wait_row(self, text: str, button: str = STOP) -> PanelRow:
        """Wait until an operation with `text` in its row shows this button."""
        rows = self.wait(lambda rows: any(text in row.text and row.button == button for row in rows))
        return next(row for row in rows if text in row.text and row.button == button)

    def wait_without(self, text: str) -> list[PanelRow]:
        return self.wait(lambda rows: not any(text in row.text for row in rows))

    def click(self, text: str, button: str = STOP) -> None:
        """Press the button of an operation with the mouse, again if its row has just moved: then the click
        counts for nothing."""
        for _ in range(TRIES):
            self._app.terminal.mouse_click(*self.wait_row(text, button).at)
            with contextlib.suppress(AssertionError):
                self.wait(
                    lambda rows: not any(text in row.text and row.button == button for row in rows),
                    timeout=LOST_S,
                )
                return
        raise AssertionError(f"no click stops {text}: {self.rows()}")

    def select(self, text: str) -> None:
        """Go to a row with the arrow keys. The panel must have the keys.

        At least one key is pressed: a row that the selection moved to by itself hears no `x` at first. If the
        selection moves by itself meanwhile, because a row has gone, the way is found again.
        """
        for _ in range(TRIES):
            rows = self.wait(
                lambda rows: any(row.selected for row in rows) and any(text in row.text for row in rows)
            )
            here = next(at for at, row in enumerate(rows) if row.selected)
            there = next(at for at, row in enumerate(rows) if text in row.text)
            there_and_back = ["up", "down"] if there else ["up"]
            self._app.terminal.press(
                *["down" if there > here else "up"] * abs(there - here) or there_and_back
            )
            with contextlib.suppress(AssertionError):
                self.wait(lambda rows: any(row.selected and text in row.text for row in rows), timeout=LOST_S)
                return
        raise AssertionError(f"the keys do not lead to {text}: {self.rows()}")


def card(screen: list[str], text: str) -> str:
    """The row of the latest card with `text` in it; empty if there is none."""
    panel = max((line.find("╭─ Running") for line in screen), default=-1)
    rows = (line[: panel if panel > 0 else None].rstrip(" ▁▂▃▄▅▆▇█") for line in reversed(screen))
    return next((row.strip() for row in rows if row[1:2] in set(_CARD_MARKS) and text in row), "")


def wait_card(app: Caesura, text: str, words: str) -> str:
    """Wait until the card with `text` says `words`; its row."""
    app.wait_for(lambda screen: words in card(screen, text))
    return card(app.frame(), text)


def wait_commands(folder: Path, commands: Collection[str], program: str) -> dict[int, str]:
    """Wait until these command lines of `program`, and no others of it, are at work in `folder`."""
    seen: dict[int, str] = {}

    def are_all() -> bool:
        # What was seen then: a shell that forks is called like its parent again for a moment.
        nonlocal seen
        seen = commands_in(folder, program)
        return sorted(seen.values()) == sorted(commands)

    wait_until(are_all, what=f"{commands} live and no other {program}")
    return seen


def finish(pipe: Path, text: str) -> None:
    """Let a `cat` of a named pipe, which must be at it, come to its end with this text."""
    descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    os.write(descriptor, text.encode())
    os.close(descriptor)


_ASKING: Final = "Esc denies and stops the turn"
"""On the frame of a question that has the keys."""


def wait_question(app: Caesura, text: str) -> None:
    """Wait until a question with `text` in it has the keys and takes answers."""

    def asks(screen: list[str]) -> bool:
        whole = "\n".join(screen)
        if text not in whole or _ASKING not in whole:
            return False
        y = next(y for y, line in enumerate(screen) if "[y]" in line)
        # Bold once the moment is over in which nothing answers.
        return bool(app.terminal.cells[y][screen[y].index("[y]")].bold)

    app.wait_for(asks)


def click_on(app: Caesura, text: str) -> None:
    """Click on the first place of the screen that reads `text`."""
    screen = app.frame()
    y = next(y for y, line in enumerate(screen) if text in line)
    app.terminal.mouse_click(screen[y].index(text) + 1, y)
