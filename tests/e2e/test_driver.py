"""The terminal driver behind a real pty: raw bytes in, facts written by a process of its own out."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.live_processes import is_stopped
from tests.support.terminal import Terminal
from tests.support.waiting import wait_until


class Running:
    """The driver app on a terminal."""

    def __init__(self, terminal: Terminal, folder: Path) -> None:
        self.terminal = terminal
        self._folder = folder

    @property
    def record(self) -> list[str]:
        """The facts so far; the last line may still be in the making."""
        return (self._folder / "record").read_text().split("\n")[:-1]

    def of(self, kind: str, *, after: int = 0) -> list[str]:
        """The facts of one kind, without the word."""
        return [fact.partition(" ")[2] for fact in self.record[after:] if fact.split(" ")[0] == kind]

    def wait(self, fact: str, *, after: int = 0) -> None:
        wait_until(lambda: fact in self.record[after:], what=f"{fact!r} in the record")

    def block(self) -> None:
        """Block the event loop until `release`."""
        self.terminal.press("f5")
        self.wait("blocked")

    def release(self) -> None:
        (self._folder / "release").touch()

    def meaning_of(self, data: bytes, *, presses: list[str], keys: list[str]) -> tuple[list[str], list[str]]:
        """What `data` in one write became: at least what is expected, and all else that it became too."""
        start = len(self.record)
        self.terminal.write(data)
        wait_until(
            lambda: (
                len(self.of("press", after=start)) >= len(presses)
                and len(self.of("key", after=start)) >= len(keys)
            ),
            what=f"{presses} and {keys} from {data!r}, got {self.record[start:]}",
        )
        self.terminal.press("~")
        self.wait("key tilde", after=start)
        return self.of("press", after=start), self.of("key", after=start)[:-1]


@contextmanager
def running(
    folder: Path, *options: str, kitty: bool = False, ssh: bool = False, nohup: bool = False
) -> Iterator[Running]:
    argv = [sys.executable, "-m", "tests.e2e.driver_app", str(folder), *options]
    if nohup:
        argv = ["/bin/sh", "-c", 'trap "" HUP; exec "$0" "$@"', *argv]
    env = {"SSH_CONNECTION": "10.0.0.1 4000 10.0.0.2 22"} if ssh else {}
    with Terminal(argv, env=env, kitty=kitty, cwd=Path(__file__).parents[2]) as terminal:
        app = Running(terminal, folder)
        terminal.wait_for("driver app")
        wait_until(lambda: "ready" in app.record, what="the app is ready")
        yield app


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One app for all tests that only type."""
    with running(tmp_path_factory.mktemp("driver")) as app:
        yield app


@pytest.fixture
def armed(shared: Running) -> Running:
    start = len(shared.record)
    shared.terminal.press("f9")
    shared.wait("key f9", after=start)
    return shared


@pytest.fixture
def disarmed(shared: Running) -> Running:
    start = len(shared.record)
    shared.terminal.press("f10")
    shared.wait("key f10", after=start)
    return shared


ESC_TABLE = [
    (b"\x1b", ["escape"], []),
    (b"\x1bx", ["escape"], ["x"]),
    (b"\x1b\r", ["escape"], ["enter"]),
    (b"\x1b\x1b", ["escape", "escape"], []),
    (b"\x1b\x03", ["escape", "ctrl+c"], []),
    (b"ab\x1b", ["escape"], ["a", "b"]),
    (b"ab\x1bcd", ["escape"], ["a", "b", "c", "d"]),
    (b"\x03", ["ctrl+c"], []),
    (b"\x1b[27u", ["escape"], []),
    (b"\x1b[27;1u", ["escape"], []),
    (b"\x1b[27;1:1u\x1b[27;1:3u", ["escape"], []),
    (b"\x1b[27;65u", ["escape"], []),
    (b"\x1b[27;1:2u", [], []),
    (b"\x1b[27;1:3u", [], []),
    (b"\x1b[99;5u", ["ctrl+c"], []),
    (b"\x1b[99;5:1u\x1b[99;5:3u", ["ctrl+c"], []),
    (b"\x1b[1089::99;5u", ["ctrl+c"], []),
    (b"\x1b[27;5;99~", ["ctrl+c"], []),
    (b"\x1b[99;6u", [], ["ctrl+shift+c"]),
    (b"\x1b[99:67;6u", [], ["ctrl+shift+c"]),
    (b"\x1b[106::99;5u", [], ["ctrl+j"]),
    (b"\x1b[97;3u", [], ["alt+a"]),
    (b"\x1b[A\x1bOB\x1b[1;5C", [], ["up", "down", "ctrl+right"]),
    (b"\x1bOP\x1b[15;2~\x1b[Z", [], ["f1", "shift+f5", "shift+tab"]),
    (b"\x1b[<35;10;5M\x1b[<0;10;5M\x1b[<0;10;5m", [], []),
    (b"\x1b[4;1y", [], []),
    (b"\x1b[I\x1b[O\x1b[?62;22c\x1b[?1u\x1b[?2026;2$y", [], []),
]


@pytest.mark.promise("E5", "E2")
@pytest.mark.parametrize(("data", "presses", "keys"), ESC_TABLE, ids=lambda value: repr(value))
def test_what_one_read_means_while_a_turn_runs(
    armed: Running, data: bytes, presses: list[str], keys: list[str]
) -> None:
    assert armed.meaning_of(data, presses=presses, keys=keys) == (presses, keys)


@pytest.mark.promise("E5")
@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"\x1b", ["escape"]),
        (b"\x1b[27u", ["escape"]),
        (b"\x1b\x1b", ["escape", "escape"]),
        (b"\x1bx", ["alt+x"]),
        (b"\x1b\r", ["alt+enter"]),
        (b"\x1b[13;3u", ["alt+enter"]),
        (b"\x1b[13;2u", ["shift+enter"]),
        (b"\n", ["ctrl+j"]),
        (b"\x1b[106;5u", ["ctrl+j"]),
        (b"\r", ["enter"]),
        (b"\x1b[13u", ["enter"]),
        (b"ab\x1bc\x03d", ["a", "b", "alt+c", "ctrl+c", "d"]),
        (b"\x1b[99;5u", ["ctrl+c"]),
        (b"\x1b[0;;20320:22909:19990:30028:65281:20320u", [*"你好世界", "fullwidth_exclamation_mark", "你"]),
    ],
    ids=lambda value: repr(value),
)
def test_keys_are_keys_while_nothing_runs(disarmed: Running, data: bytes, keys: list[str]) -> None:
    assert disarmed.meaning_of(data, presses=[], keys=keys) == ([], keys)


@pytest.mark.promise("E5")
def test_special_keys_are_never_taken_for_escape_under_load(armed: Running) -> None:
    # 11 bytes divide no buffer size, so reads end at every place within them.
    start = len(armed.record)
    armed.terminal.write(b"\x1b[24~\x1b[1;5C" * 4000)
    armed.terminal.press("~")
    armed.wait("key tilde", after=start)
    keys = armed.of("key", after=start)
    assert keys == ["f12", "ctrl+right"] * 4000 + ["tilde"]
    assert armed.of("press", after=start) == []


@pytest.mark.promise("E5")
@pytest.mark.parametrize(("key", "name"), [("escape", "escape"), ("ctrl+c", "ctrl+c")])
def test_a_paste_without_an_end_cannot_swallow_a_stop(armed: Running, key: str, name: str) -> None:
    start = len(armed.record)
    armed.terminal.write(b"\x1b[200~half a paste")

    def pressed() -> bool:
        # The key must come on its own: repeat it in case it was read together with the paste.
        armed.terminal.press(key)
        return name in armed.of("press", after=start)

    wait_until(pressed, what="the press", step=0.3)
    wait_until(lambda: bool(armed.of("paste", after=start)), what="the text pasted so far")
    assert json.loads(armed.of("paste", after=start)[0]).startswith("half a paste")


@pytest.mark.promise("E5")
def test_a_paste_of_a_megabyte_is_one_paste(armed: Running) -> None:
    start = len(armed.record)
    armed.terminal.paste("0123456789abcde\n" * 65536)
    armed.wait(f"paste {1 << 20}", after=start)
    assert armed.meaning_of(b"\x1b", presses=["escape"], keys=[]) == (["escape"], [])
    assert armed.of("key", after=start) == ["tilde"]


@pytest.mark.promise("E1", "E2")
def test_an_open_dialog_keeps_escape_and_leaves_ctrl_c_to_the_turn(tmp_path: Path) -> None:
    with running(tmp_path, "--arm", "ctrl+c") as app:
        assert app.meaning_of(b"\x1b", presses=[], keys=["escape"]) == ([], ["escape"])
        assert app.meaning_of(b"\x03", presses=["ctrl+c"], keys=[]) == (["ctrl+c"], [])
        assert app.meaning_of(b"\x1bx", presses=[], keys=["escape", "x"]) == ([], ["escape", "x"])


@pytest.mark.promise("E1", "E2", "E7")
@pytest.mark.parametrize("kitty", [False, True], ids=["plain", "kitty"])
def test_keys_reach_their_target_while_the_loop_is_blocked(tmp_path: Path, *, kitty: bool) -> None:
    with running(tmp_path, "--arm", "both", kitty=kitty) as app:
        app.block()
        app.terminal.press("escape")
        app.wait("press escape")
        app.terminal.press("ctrl+c")
        app.wait("press ctrl+c")
        assert "released" not in app.record
        assert app.of("interrupted") == []
        app.release()
        app.wait("interrupted ctrl+c")
        assert app.of("interrupted") == ["escape", "ctrl+c"]
        assert app.of("key") == ["f5"]


@pytest.mark.promise("E1", "E5")
def test_escape_and_arrows_over_ssh(tmp_path: Path) -> None:
    with running(tmp_path, "--arm", "both", ssh=True) as app:
        assert app.meaning_of(b"\x1b[A\x1b[B", presses=[], keys=["up", "down"]) == ([], ["up", "down"])
        assert app.meaning_of(b"\x1b", presses=["escape"], keys=[]) == (["escape"], [])


@pytest.mark.promise("Q3")
@pytest.mark.parametrize("stop", [signal.SIGSTOP, signal.SIGTSTP])
def test_a_continued_process_takes_the_terminal_once(tmp_path: Path, stop: signal.Signals) -> None:
    with running(tmp_path, kitty=True) as app:
        app.terminal.signal(stop)
        wait_until(lambda: is_stopped(app.terminal.pid), what="the process is stopped")
        if stop is signal.SIGTSTP:
            assert app.terminal.unrestored() == []
        app.terminal.signal(signal.SIGCONT)
        wait_until(
            lambda: app.terminal.output.count(b"\x1b[?1049h") > 1 and 2004 in app.terminal.modes,
            what="the terminal is taken again",
        )
        app.terminal.press("f7")
        assert app.terminal.wait_exit() == 0
        assert app.terminal.unrestored() == []


Exit = Callable[[Running], None]


def press(key: str) -> Exit:
    def act(app: Running) -> None:
        app.terminal.press(key)

    return act


def send(number: signal.Signals) -> Exit:
    return lambda app: app.terminal.signal(number)


def send_while_blocked(number: signal.Signals) -> Exit:
    def act(app: Running) -> None:
        app.block()
        app.terminal.signal(number)

    return act


EXITS = {
    "normal": (press("f7"), 0),
    "exception": (press("f6"), 1),
    "system exit": (press("f8"), 7),
    "a failing way out": (press("f4"), 1),
    "SIGINT": (send(signal.SIGINT), 130),
    "SIGTERM": (send(signal.SIGTERM), 143),
    "SIGHUP": (send(signal.SIGHUP), 129),
    "SIGTERM while blocked": (send_while_blocked(signal.SIGTERM), 143),
    "SIGHUP while blocked": (send_while_blocked(signal.SIGHUP), 129),
}


@pytest.mark.promise("Q1", "Q3")
@pytest.mark.parametrize(("leave", "code"), EXITS.values(), ids=EXITS)
def test_the_terminal_is_restored_whatever_ends_the_process(tmp_path: Path, leave: Exit, code: int) -> None:
    with running(tmp_path, kitty=True) as app:
        assert app.terminal.unrestored()
        leave(app)
        assert app.terminal.wait_exit() == code
        assert app.terminal.unrestored() == []
        assert app.terminal.output.count(b"\x1b[<u") == 1
        assert app.terminal.processes() == []


@pytest.mark.promise("Q1", "Q3")
def test_a_second_signal_skips_the_grace(tmp_path: Path) -> None:
    with running(tmp_path, "--stubborn") as app:
        app.terminal.signal(signal.SIGTERM)
        app.wait("signal SIGTERM 1")
        app.terminal.signal(signal.SIGTERM)
        assert app.terminal.wait_exit() == 143
        assert app.of("signal") == ["SIGTERM 1", "SIGTERM 2"]
        assert app.terminal.unrestored() == []


@pytest.mark.promise("Q3")
@pytest.mark.parametrize("blocked", [False, True], ids=["free", "blocked"])
def test_a_closed_terminal_ends_the_process(tmp_path: Path, *, blocked: bool) -> None:
    with running(tmp_path) as app:
        if blocked:
            app.block()
        app.terminal.hang_up()
        assert app.terminal.wait_exit() == 129
        assert app.terminal.processes() == []


@pytest.mark.promise("Q3")
def test_a_closed_terminal_ends_the_process_under_nohup_too(tmp_path: Path) -> None:
    with running(tmp_path, nohup=True) as app:
        app.terminal.hang_up()
        assert app.terminal.wait_exit() == 143
        assert app.terminal.processes() == []
