"""Calls and questions through a real terminal: one of three is stopped, the others and the model get it told.

A call here reads a named pipe: alive until the test writes into it, and gone when it is stopped.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.tools import (
    KILL,
    Panel,
    call,
    calls,
    card,
    click_on,
    commands_in,
    finish,
    last_results,
    shell,
    wait_card,
    wait_commands,
    write_config,
)
from tests.servers.script import Script, in_turn
from tests.support.live_processes import model_processes, streamer_of
from tests.support.program import PROGRAM, Caesura, program_after, running, talk_to
from tests.support.slices import NEEDS_SLICES, is_short
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers.openai import OpenAIServer
    from tests.servers.record import Exchange, Request

PIPES: Final = ("one", "two", "three")
REMINDER: Final = "Do not run it again unless the user asks for it."


STUBBORN: Final = "trap 'echo no' TERM; echo READY; while :; do sleep 0.01; done"
TIDY: Final = "trap 'sleep 0.1; echo CLEANED; exit 7' TERM; echo READY; while :; do sleep 0.01; done"
YES: Final = "yes"
NO_TERMINAL: Final = (
    "(: </dev/tty) 2>/dev/null || echo no terminal; read -r line || echo no input; echo READY; exec sleep 300"
)
SIZE: Final = (100, 60)
PATIENT_S: Final = 600
PATIENT: Final = f"""
import core.engine.dispatch as dispatch, core.process.command as command
import core.process.supervisor_client as client
from core.tools.shell import Shell
dispatch.FORCED_GRACE_S = command.END_WITHIN_S = Shell.grace_s = {PATIENT_S}
client._BOOT = client._BOOT.replace(
    "import main;", "import main; import core.process.supervisor as own; own.GRACE_S = {PATIENT_S};"
)
"""


@contextmanager
def working(home: Path, server: OpenAIServer, program: tuple[str, ...] = PROGRAM) -> Iterator[Caesura]:
    """A program in auto mode, in a folder `work` below `home`."""
    write_config(home, allow=[STUBBORN, TIDY, YES, NO_TERMINAL])
    (home / "work").mkdir()
    options = (*talk_to(server), "--mode", "auto")
    columns, lines = SIZE
    with running(home, *options, columns=columns, lines=lines, cwd=home / "work", program=program) as app:
        yield app


@pytest.fixture(scope="module")
def shared(server: OpenAIServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caesura]:
    with working(tmp_path_factory.mktemp("tools"), server) as app:
        yield app


@pytest.fixture(scope="module")
def patient(server: OpenAIServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caesura]:
    """A program that gives a stopped command so much time that only a second stop can end it in the test."""
    with working(tmp_path_factory.mktemp("patient"), server, program_after(f"exec({PATIENT!r})")) as app:
        yield app


def resize(app: Caesura, columns: int, lines: int) -> None:
    app.terminal.resize(columns, lines)
    app.wait_for(lambda screen: len(screen[-1]) == columns and "Esc" in screen[lines - 1])


def start_three(app: Caesura, server: OpenAIServer, folder: Path) -> tuple[Exchange, list[str]]:
    """Have three calls of one reply run at the same time; their exchange and ids."""
    for name in PIPES:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)
    made = tuple(shell(f"cat {name}") for name in PIPES)
    script = in_turn(calls(*made), Script(text=("They have ended.",)))
    exchange = app.send(server, "three at once", script)
    wait_commands(folder, [f"cat {name}" for name in PIPES], "cat")
    return exchange, [str(each.call_id) for each in made]


class TestOneOfThree:
    """The second of three running calls is stopped, in a drawer and in a side pane."""

    @pytest.fixture(params=[(80, 24), (140, 45)], ids=["drawer", "side"])
    def app(self, request: pytest.FixtureRequest, shared: Caesura, server: OpenAIServer) -> Iterator[Caesura]:
        shared.settle(server)
        resize(shared, *request.param)
        yield shared
        resize(shared, *SIZE)

    @staticmethod
    def click(app: Caesura, panel: Panel) -> None:
        panel.open()
        panel.wait(lambda rows: [row.text.count("running") for row in rows] == [1, 1, 1])
        panel.click("cat two")

    @staticmethod
    def key(app: Caesura, panel: Panel) -> None:
        panel.open()
        panel.select("cat two")
        app.terminal.press("x")

    @staticmethod
    def words(app: Caesura, panel: Panel) -> None:
        panel.open()
        panel.select("cat two")
        app.terminal.press("w")
        app.terminal.type("wrong file\n")

    @staticmethod
    def command(app: Caesura, panel: Panel) -> None:
        app.terminal.type("/stop 2 wrong file\n")
        wait_card(app, "cat two", "stopped")
        panel.open()

    @pytest.mark.promise("S1", "S2", "S5", "S8", "X1", "H5", "E6")
    @pytest.mark.parametrize(
        ("way", "source", "words"),
        [
            (click, "the panel", ""),
            (key, "the panel", ""),
            (words, "the panel", ' The user says: "wrong file".'),
            (command, "/stop", ' The user says: "wrong file".'),
        ],
        ids=["click", "x", "w", "/stop"],
    )
    def test_that_one_only_ends_and_everybody_learns_it(
        self,
        app: Caesura,
        server: OpenAIServer,
        way: Callable[[Caesura, Panel], None],
        source: str,
        words: str,
    ) -> None:
        folder = app.home / "work"
        panel = Panel(app)
        exchange, ids = start_three(app, server, folder)
        before = commands_in(folder, "cat")
        way(app, panel)

        after = wait_commands(folder, ["cat one", "cat three"], "cat")
        assert {pid: line for pid, line in before.items() if line != "cat two"} == after
        panel.wait(lambda rows: [row.command[:7] for row in rows] == ["cat one", "cat thr"])
        assert wait_card(app, "cat two", "stopped by").startswith("■ shell")
        assert card(app.frame(), "cat one").startswith("● shell")
        assert card(app.frame(), "cat three").startswith("● shell")
        assert "running" in app.status

        finish(folder / "three", "said by three\n")
        finish(folder / "one", "said by one\n")
        answer = server.wait_request(exchange.index + 2)
        app.wait_block("They have ended.")
        told = last_results(answer.request)
        assert [result.call_id for result in told] == ids
        first, second, third = (result.text for result in told)
        assert first == "Exit code 0.\nsaid by one"
        assert third == "Exit code 0.\nsaid by three"
        assert second.startswith("Stopped after ")
        assert second.endswith(
            f": the user stopped this call. What it had done by then is unknown.{words} {REMINDER}"
        )
        assert server.complaints == []
        assert f"stopped by {source} after" in card(app.frame(), "cat two")
        # An earlier reply with the same words may be what is on the screen already.
        assert wait_card(app, "cat one", "✓").startswith("✓ shell")
        assert commands_in(folder, "cat") == {}
        panel.close()

        # Told once (S8): the next prompt has no word of it.
        later = app.send(server, "and now", Script(text=("Nothing.",)))
        app.wait_block("Nothing.")
        assert later.request.conversation.messages[-1].text == "and now"


def start(app: Caesura, server: OpenAIServer, command: str) -> tuple[Exchange, Panel]:
    """Have a command run and its output shown in the panel, which gets the keys, up to `READY`."""
    panel = Panel(app)
    exchange = app.send(server, "run it", in_turn(calls(shell(command)), Script(text=("It has ended.",))))
    panel.open()
    panel.wait_row(command[:12])
    app.terminal.press("enter")
    app.terminal.wait_for("│ READY")
    return exchange, panel


def told_of(app: Caesura, server: OpenAIServer, exchange: Exchange) -> str:
    """The result of the one call of a turn that has gone on to its end."""
    (result,) = last_results(server.wait_request(exchange.index + 2).request)
    app.wait_block("It has ended.")
    return result.text


# Twice


@pytest.mark.promise("X1", "X2", "H5")
def test_a_first_stop_leaves_time_to_clean_up(app: Caesura, server: OpenAIServer) -> None:
    exchange, panel = start(app, server, TIDY)
    panel.click("trap")
    told = told_of(app, server, exchange)
    assert told.startswith("Stopped after ")
    # In between the shell may say of its own child that it was ended.
    assert "Output so far:\nREADY\n" in told
    assert told.splitlines()[-1] == "CLEANED"
    panel.close()


@pytest.mark.promise("S11", "E7", "E6")
@pytest.mark.parametrize("way", ["button", "x", "Esc"])
def test_a_second_stop_kills(patient: Caesura, server: OpenAIServer, way: str) -> None:
    app = patient
    app.settle(server)
    exchange, panel = start(app, server, STUBBORN)
    # What it starts is called the same for a moment, until it is a `sleep`.
    (mine,) = wait_commands(app.home / "work", [f"/bin/bash -c {STUBBORN}"], "/bin/bash")
    match way:
        case "button":
            panel.click("trap")
            panel.wait(lambda rows: "stopping" in rows[0].text)
            assert mine in commands_in(app.home / "work", "/bin/bash")
            wait_until(lambda: not _clicked_again(app, panel), what="it is killed", step=AGAIN_S)
        case "x":
            panel.select("trap")
            app.terminal.press("x")
            panel.wait_row("trap", KILL)
            assert mine in commands_in(app.home / "work", "/bin/bash")
            wait_until(lambda: not _pressed_again(app, "x"), what="it is killed", step=AGAIN_S)
        case _:
            panel.close()
            app.terminal.press("escape")
            app.wait_status("Esc forces")
            assert mine in commands_in(app.home / "work", "/bin/bash")
            wait_until(lambda: not _pressed_again(app, "escape"), what="it is killed", step=AGAIN_S)
    wait_commands(app.home / "work", [], "/bin/bash")
    if way == "Esc":
        assert app.wait_stopped().endswith("0 alive. /continue goes on, Esc Esc edits the prompt.")
    else:
        assert "Stopped after" in told_of(app, server, exchange)
        panel.close()
    words = wait_card(app, "trap", "0 alive")
    # Its grace would have taken all of that.
    assert _seconds(words) < PATIENT_S, words


AGAIN_S: Final = 0.2
"""A press sooner than that after another is taken for the same one."""


def _clicked_again(app: Caesura, panel: Panel) -> bool:
    rows = panel.rows()
    if rows:
        app.terminal.mouse_click(*rows[0].at)
    return bool(rows)


def _pressed_again(app: Caesura, key: str) -> bool:
    alive = bool(commands_in(app.home / "work", "/bin/bash"))
    if alive:
        app.terminal.press(key)
    return alive


def _seconds(words: str) -> float:
    """The time that a card gives for a stop."""
    found = re.search(r" after ([\d.]+) (m?)s", words)
    assert found is not None, words
    return float(found[1]) / (1000 if found[2] else 1)


# Too much


def written_by(pid: int) -> int:
    """Bytes that a process has written so far."""
    return _number(pid, "io", "wchar")


def memory_of(pid: int) -> int:
    """Bytes that a process has in memory."""
    return _number(pid, "status", "VmRSS") * 1024


def _number(pid: int, file: str, name: str) -> int:
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@pytest.mark.promise("X2", "E1")
def test_a_flood_is_bounded_and_stopped_by_esc(app: Caesura, server: OpenAIServer) -> None:
    folder = app.home / "work"
    app.send(server, "flood", calls(shell(YES)))
    wait_until(lambda: bool(commands_in(folder, "yes")), what="it runs")
    (pid,) = commands_in(folder, "yes")
    wait_until(lambda: written_by(pid) > 2 * MEGABYTE, what="2 MB are written")
    before = memory_of(app.terminal.pid)
    wait_until(lambda: written_by(pid) > 12 * MEGABYTE, what="12 MB are written")
    assert memory_of(app.terminal.pid) - before < 5 * MEGABYTE
    app.terminal.press("escape")
    assert app.wait_stopped().startswith("1 process ended, 0 alive.")
    assert commands_in(folder, "yes") == {}

    row = card(app.frame(), "shell  yes")
    click_on(app, row)
    app.terminal.press("end")
    app.wait_for(lambda screen: LEFT_OUT.search("\n".join(screen)) is not None)
    later = app.send(server, "what was it", Script(text=("A flood.",)))
    app.wait_block("A flood.")
    told = later.request.conversation.results[-1]
    assert told.text.startswith("Stopped after ")
    assert re.search(r"\[… [\d,]{8,} bytes left out …\]", told.text)
    assert len(told.text) < MOST_OF_AN_OUTPUT


LEFT_OUT: Final = re.compile(r"… [\d,]+ more lines, and of these \[… [\d,]{8,} bytes left out …\]")
MEGABYTE: Final = 1_000_000
MOST_OF_AN_OUTPUT: Final = 60_000


# No terminal


@pytest.mark.promise("X6")
def test_a_command_has_neither_terminal_nor_input_and_the_keys_stay_with_the_prompt(
    app: Caesura, server: OpenAIServer
) -> None:
    exchange, panel = start(app, server, NO_TERMINAL)
    panel.close()
    app.terminal.type("still mine")
    app.wait_composer("still mine")
    panel.open()
    panel.select(NO_TERMINAL[:12])
    app.terminal.press("x")
    told = told_of(app, server, exchange)
    assert told.endswith("Output so far:\nno terminal\nno input\nREADY\n")
    assert app.composer == "still mine"


# Beside programs that compute


@pytest.mark.promise("E6")
@NEEDS_SLICES
def test_what_a_stop_needs_runs_soon_and_all_else_as_usual(app: Caesura, server: OpenAIServer) -> None:
    _, panel = start(app, server, TIDY)
    program = app.terminal.pid
    streamer = streamer_of(program)
    (compiler,) = set(model_processes(program)) - {streamer}
    commands = commands_in(app.home / "work", "/bin/bash")
    assert commands
    assert [is_short(pid) for pid in (program, streamer)] == [True, True]
    assert not any(map(is_short, (compiler, *commands)))
    panel.close()
    app.terminal.press("escape")
    app.wait_stopped()


# Sub-agents within sub-agents


def depth_of(request: Request) -> int:
    """How deep the sub-agent is that asks; 0 for the conversation itself."""
    word, _, depth = request.conversation.messages[0].text.partition(" ")
    return int(depth) if word == "depth" else 0


def nested(request: Request) -> Script:
    """A model whose sub-agents have sub-agents: three deep, and the last one runs a command."""
    depth = depth_of(request)
    if told := last_results(request):
        return Script(text=(f"I am {depth} and was told: {told[0].text}",))
    return calls(shell("cat one") if depth == 3 else call("agent", task=f"depth {depth + 1}"))


@pytest.mark.promise("X5", "X1", "S5", "H5")
def test_a_stop_of_the_middle_one_leaves_the_outer_alive_and_informed(
    app: Caesura, server: OpenAIServer
) -> None:
    (app.home / "work" / "one").unlink(missing_ok=True)
    os.mkfifo(app.home / "work" / "one")
    exchange = app.send(server, "dig", nested)
    wait_commands(app.home / "work", ["cat one"], "cat")
    panel = Panel(app)
    panel.open()
    panel.wait(lambda rows: [row.text.count("running") for row in rows] == [1, 1, 1, 1])
    panel.click("depth 2")
    app.terminal.wait_for("I am 0 and was told:")
    app.wait_status("idle")
    assert commands_in(app.home / "work", "cat") == {}
    panel.wait(lambda rows: not rows)
    panel.close()

    # One request of each depth, then the outer ones go on; the middle and the inner one never do.
    assert [depth_of(each.request) for each in server.exchanges[exchange.index :]] == [0, 1, 2, 3, 1, 0]
    (of_the_middle,) = last_results(server.exchanges[-2].request)
    assert of_the_middle.text.startswith("Stopped after ")
    assert ": the user stopped this call. " in of_the_middle.text
    assert REMINDER in of_the_middle.text
    (of_the_outer,) = last_results(server.exchanges[-1].request)
    assert of_the_outer.text == f"I am 1 and was told: {of_the_middle.text}"
    assert card(app.frame(), "depth 1").startswith("✓ agent")


@pytest.mark.promise("X5", "X1", "E1", "E6", "S9")
def test_esc_ends_them_all(app: Caesura, server: OpenAIServer) -> None:
    (app.home / "work" / "one").unlink(missing_ok=True)
    os.mkfifo(app.home / "work" / "one")
    exchange = app.send(server, "dig", nested)
    wait_commands(app.home / "work", ["cat one"], "cat")
    app.terminal.press("escape")
    assert app.wait_stopped() == "1 process ended, 0 alive. /continue goes on, Esc Esc edits the prompt."
    assert commands_in(app.home / "work", "cat") == {}
    assert len(server.exchanges) == exchange.index + 4
    assert "stopped by Esc" in card(app.frame(), "depth 1")
    app.terminal.type("/running\n")
    app.wait_block("Nothing is running.")
