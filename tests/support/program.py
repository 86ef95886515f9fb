"""Caesura as a user starts it: a program on a terminal, and a model's server to talk to.

What it must never do: look into the program. Whatever is known here was on the screen, on the wire, in a file
or in the process table.
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.conftest import KEYS
from tests.servers.record import Request
from tests.servers.script import Script
from tests.support.terminal import Terminal
from tests.support.waiting import GENEROUS_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.servers.base import Server
    from tests.servers.record import Exchange

ROOT: Final = Path(__file__).parents[2]
PROGRAM: Final = (sys.executable, str(ROOT / "caesura.py"))
MODEL: Final = "openai/gpt-4o"
API_KEY: Final = "sk-not-to-be-seen-2f71c09be3"

Answers = Script | Callable[[Request], Script]
"""What a server's `script` may be."""


STOPPED: Final = re.compile(r"■ Stopped by (?P<source>[\w+]+) after (?P<after>[\d.]+ m?s): (?P<rest>.*)")
ENDLESS: Final = Script(text=("word ",), endless=True, delay=0.1)

SYNCHRONIZED: Final = 2026
"""The terminal mode that is on while a frame is being drawn."""

_BOX_TOP, _BOX_BOTTOM = "╭", "╰"
_QUEUE_TOP = "──"
"""Begins the line above the queued prompts."""
_SCROLL_BAR = " ▁▂▃▄▅▆▇█"


def program_after(code: str) -> tuple[str, ...]:
    """The program, in an interpreter that has run `code` first."""
    start = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}; from caesura import main; sys.exit(main())"
    )
    return (sys.executable, "-P", "-c", start)


@contextmanager
def nonblocking_pipe() -> Iterator[tuple[int, int]]:
    """A pipe that takes little and does not block its writer. The caller closes the end for writing."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    try:
        # Full, so that the first write has to wait.
        os.write(write, bytes(4096))
        yield read, write
    finally:
        os.close(read)


def read_slowly(read: int) -> bytes:
    """Everything that was written into a `nonblocking_pipe`, in small pieces."""
    pieces = []
    while piece := os.read(read, 64):
        pieces.append(piece)
    return b"".join(pieces)[4096:]


def environment(home: Path, **changes: str | None) -> dict[str, str | None]:
    """What to lay over this process' environment: a home of its own, one key, nothing of the developer's."""
    folders = {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("CONFIG", "DATA", "STATE", "CACHE")}
    proxies = dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    )
    return {
        **dict.fromkeys(KEYS),
        **proxies,
        **folders,
        "HOME": str(home),
        "OPENAI_API_KEY": API_KEY,
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        **changes,
    }


def talk_to(server: Server) -> tuple[str, ...]:
    """The options that send the program to `server`."""
    return "--model", MODEL, "--api-base", server.url


class Caesura:
    """The program on its terminal, read as a person reads it."""

    def __init__(self, terminal: Terminal, home: Path) -> None:
        self.terminal = terminal
        self.home = home

    # What is on the screen

    def frame(self) -> list[str]:
        """The lines of the screen, never in the middle of a frame."""
        shown: list[str] = []

        def take(screen: list[str]) -> bool:
            nonlocal shown
            shown = screen
            return True

        self.wait_for(take)
        return shown

    @property
    def status(self) -> str:
        return self.frame()[-1].strip()

    @property
    def transcript(self) -> list[str]:
        """The rows between title and composer, without the scroll bar."""
        return _transcript(self.frame())

    @property
    def composer(self) -> str:
        """What stands in the composer; empty while it shows its placeholder."""
        rows = [row.strip("│ ") for row in _box(self.frame())]
        text = "\n".join(rows)
        return "" if text.startswith("Ask anything") else text

    def logs(self) -> str:
        """Everything the program has written into its state folder."""
        return "\n".join(path.read_text() for path in sorted((self.home / "state").rglob("*.log*")))

    # Waiting for it

    def wait_for(self, predicate: Callable[[list[str]], bool], *, timeout: float = GENEROUS_S) -> None:
        """Wait for a state of the screen, looking at whole frames only."""
        self.terminal.wait_for(
            lambda screen: SYNCHRONIZED not in self.terminal.modes and predicate(screen), timeout=timeout
        )

    def wait_status(self, word: str) -> None:
        self.wait_for(lambda screen: word in screen[-1])

    def wait_block(self, text: str) -> str:
        """Wait until the last paragraph of an idle session contains `text`; that paragraph on one line."""
        found = ""

        def ended(screen: list[str]) -> bool:
            nonlocal found
            found = _last_block(screen)
            return "idle" in screen[-1] and text in found

        self.wait_for(ended)
        return found

    def wait_stopped(self, source: str = "Esc") -> str:
        """Wait until the last paragraph is the notice of a stop; what it says after the time."""
        block = self.wait_block(f"■ Stopped by {source} ")
        found = STOPPED.fullmatch(block)
        assert found is not None, block
        return found["rest"]

    def wait_composer(self, text: str) -> None:
        self.wait_for(lambda screen: text in "\n".join(_box(screen)))

    # Using it

    def send(self, server: Server, prompt: str, script: Answers) -> Exchange:
        """Send a prompt; return when its request has arrived."""
        server.script = script
        count = len(server.exchanges)
        self.terminal.type(f"{prompt}\n")
        return server.wait_request(count + 1)

    def ask(self, server: Server, prompt: str, script: Answers) -> Exchange:
        """As `send`, for a reply short enough to leave the prompt on the screen: wait until it is there."""
        draft = self.composer
        exchange = self.send(server, prompt, script)
        self.wait_for(lambda screen: any(f"❯ {draft}{prompt}" in line for line in screen))
        return exchange

    def stream(self, server: Server, prompt: str) -> Exchange:
        """Send a prompt whose reply has no end; return when some of it is on the screen."""
        exchange = self.ask(server, prompt, ENDLESS)
        self.wait_for(lambda screen: "word word" in _last_block(screen))
        return exchange

    def settle(self, server: Server) -> None:
        """Bring a shared program back to rest: idle, with an empty queue and composer."""
        server.script = Script()
        if "Esc closes" in self.status:
            self.terminal.press("escape")
            self.wait_for(lambda screen: "Esc closes" not in screen[-1])
        if "idle" not in self.status:
            self.terminal.press("escape")
            self.wait_status("idle")
        if "queued" in self.status:
            self.terminal.type("/drop\n")
            self.wait_for(lambda screen: "queued" not in screen[-1])
        if self.composer:
            self.terminal.press("end", "ctrl+u")
            self.wait_composer("Ask anything")


@contextmanager
def running(
    home: Path,
    *arguments: str,
    env: Mapping[str, str | None] | None = None,
    columns: int = 80,
    lines: int = 24,
    kitty: bool = False,
    program: tuple[str, ...] = PROGRAM,
    cwd: Path | None = None,
) -> Iterator[Caesura]:
    """Start Caesura on a terminal, in `cwd` as its workspace, and wait for its first frame."""
    terminal = Terminal(
        [*program, *arguments],
        env=environment(home) | dict(env or {}),
        columns=columns,
        lines=lines,
        kitty=kitty,
        cwd=cwd,
    )
    with terminal:
        terminal.wait_for(lambda screen: "idle" in screen[-1])
        yield Caesura(terminal, home)


def _edge(screen: list[str], corner: str) -> int:
    return next((row for row, line in enumerate(screen) if line.startswith(corner)), len(screen) - 1)


def _box(screen: list[str]) -> list[str]:
    """The inside of the lowest box: the composer."""
    upwards = screen[::-1]
    return screen[len(screen) - _edge(upwards, _BOX_TOP) : len(screen) - 1 - _edge(upwards, _BOX_BOTTOM)]


def _transcript(screen: list[str]) -> list[str]:
    end = min(_edge(screen, _BOX_TOP), _edge(screen, _QUEUE_TOP))
    return [line[1:].rstrip(_SCROLL_BAR) for line in screen[1:end]]


def _last_block(screen: list[str]) -> str:
    block: list[str] = []
    for row in reversed(_transcript(screen)):
        if row:
            block.append(row.strip())
        elif block:
            break
    return " ".join(reversed(block))
