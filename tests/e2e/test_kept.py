"""What is kept across the end of the program, through a real terminal: quit, killed, opened again, gone back.

Every claim is made of the screen, of the request that the server got, or of files and processes.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.tools import (
    Panel,
    call,
    calls,
    card,
    click_on,
    commands_in,
    shell,
    wait_commands,
    wait_question,
)
from tests.servers.conversation import Role
from tests.servers.script import Script, in_turn
from tests.support.program import ENDLESS, PROGRAM, Caesura, environment, running, talk_to
from tests.support.terminal import Terminal
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.openai import OpenAIServer
    from tests.servers.record import Request

SIZE: Final = (100, 40)
CONTINUE: Final = "Continue exactly where you were stopped, without repeating any of it."


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path


@contextmanager
def started(home: Path, server: OpenAIServer, *options: str) -> Iterator[Caesura]:
    """The program in the one workspace of `home`."""
    columns, lines = SIZE
    with running(home, *talk_to(server), *options, columns=columns, lines=lines, cwd=home / "work") as app:
        yield app


def leave(app: Caesura, *keys: str) -> None:
    """End the program like this; nothing of it is left."""
    app.terminal.press(*keys)
    assert app.terminal.wait_exit() == 0
    assert_nothing_is_left(app)


def assert_nothing_is_left(app: Caesura) -> None:
    assert app.terminal.unrestored() == []
    wait_until(lambda: app.terminal.processes() == [], what="no process is left")


def kill(app: Caesura) -> None:
    app.terminal.signal(signal.SIGKILL)
    assert app.terminal.wait_exit() == -signal.SIGKILL
    wait_until(lambda: app.terminal.processes() == [], what="no process is left")


def text_of(screen: list[str]) -> str:
    """All that the transcript shows, on one line."""
    return " ".join(" ".join(screen).split())


def shown(app: Caesura) -> str:
    return text_of(app.transcript)


def wait_shown(app: Caesura, *texts: str) -> None:
    app.wait_for(lambda screen: all(text in text_of(screen) for text in texts))


def said(request: Request) -> list[tuple[Role, str]]:
    """Who said what in a request, up to its last message."""
    return [(message.role, message.text) for message in request.conversation.messages]


def id_on(app: Caesura) -> str:
    """The beginning of the id that a notice offers to resume."""
    found = re.search(r"/resume ([0-9a-f]{8})", shown(app))
    assert found is not None, shown(app)
    return found[1]


def kept_id(home: Path) -> str:
    """The id of the session that changed last."""
    with closing(sqlite3.connect(home / "data" / "caesura" / "caesura.db")) as connection:
        ((session_id,),) = connection.execute("SELECT id FROM sessions ORDER BY updated_at DESC LIMIT 1")
    return str(session_id)


# -- stopped, quit and taken up again --


@pytest.mark.promise("H2", "H3", "H9", "E8", "Q2", "Q3", "E4")
def test_a_stopped_turn_is_there_after_a_restart_and_goes_on(home: Path, server: OpenAIServer) -> None:
    with started(home, server) as app:
        exchange = app.stream(server, "tell me")
        app.terminal.type("later\n")
        app.wait_status("1 queued")
        app.terminal.press("escape")
        server.wait_closed(exchange)
        app.wait_for(lambda screen: "■ Stopped by Esc" in text_of(screen) and "idle" in screen[-1])
        notice = next(line for line in app.transcript if "■" in line)
        leave(app, *"/quit", "enter")

    with started(home, server, "--continue") as app:
        # A slow terminal has let more of the reply come: then the prompt is above what is in sight.
        wait_shown(app, "word word", notice.strip(), "later")
        app.terminal.press("ctrl+home")
        wait_shown(app, "❯ tell me")
        app.terminal.press("ctrl+end")
        app.wait_status("1 queued: Ctrl+G sends")
        asks = in_turn(calls(call("write_file", path="new.txt", content="new"), text="I write it."), ENDLESS)
        again = app.send(server, "/continue", asks)
        (prompt, partial, more) = said(again.request)
        assert prompt == (Role.USER, "tell me")
        assert partial[0] is Role.ASSISTANT
        assert partial[1].startswith("word word")
        assert more[0] is Role.USER
        assert more[1].endswith(CONTINUE)
        wait_question(app, "new.txt")
        # Q2: the question closes, and nothing was written.
        leave(app, "ctrl+q")
        assert not (home / "work" / "new.txt").exists()

    with started(home, server, "--resume", kept_id(home)[:8]) as app:
        wait_shown(app, "❯ /continue", "I write it.", "■ Stopped by Ctrl+Q")
        assert card(app.frame(), "new.txt").startswith("○ write_file"), app.frame()
        app.wait_status("1 queued: Ctrl+G sends")
        # Ctrl+S with nothing written sends what waited (E8).
        server.script = Script(text=("It came.",))
        count = len(server.exchanges)
        app.terminal.press("ctrl+s")
        last = server.wait_request(count + 1)
        app.wait_block("It came.")
        roles = [role for role, _ in said(last.request)]
        assert roles == [Role.USER, Role.ASSISTANT, Role.USER, Role.ASSISTANT, Role.RESULTS, Role.USER]
        assert last.request.conversation.results[0].text.startswith("Not started: the program was closed")
        assert said(last.request)[-1][1].endswith("later")

        # The same session in a second terminal.
        with started(home, server, "--resume", kept_id(home)[:8]) as second:
            wait_shown(second, "It came.", "Another Caesura", "Here it can only be read: /fork")
            second.terminal.type("hello\n")
            second.wait_for(lambda screen: text_of(screen).count("/fork makes a copy") == 2)
            second.wait_composer("hello")
            second.terminal.press("ctrl+u")
            second.terminal.type("/fork\n")
            wait_shown(second, "This is a copy.")
            second.ask(server, "and now", Script(text=("In the copy.",)))
            second.wait_block("In the copy.")
            leave(second, "ctrl+q")
        assert "In the copy." not in shown(app)
        leave(app, "ctrl+q")
    assert server.complaints == []


def test_continue_with_nothing_there_is_a_mistake(home: Path, server: OpenAIServer) -> None:
    argv = [*PROGRAM, *talk_to(server), "--continue"]
    with Terminal(argv, env=environment(home), cwd=home / "work") as terminal:
        assert terminal.wait_exit() == 2
        wait_until(lambda: "leave out --continue" in terminal.text, what="it says why")
        sentence = "caesura: there is no session in this folder to continue: leave out --continue."
        assert " ".join(terminal.text.split()) == sentence


# -- killed --


@pytest.mark.promise("H8", "X7", "H9", "Q3")
def test_kill_9_loses_a_second_at_most_and_is_told_at_the_next_start(
    home: Path, server: OpenAIServer
) -> None:
    os.mkfifo(home / "work" / "one")
    with started(home, server, "--mode", "auto") as app:
        exchange = app.stream(server, "tell me")
        seen = shown(app).count("word")
        # A second of this stream.
        server.wait_deltas(exchange, exchange.deltas_sent + round(1 / ENDLESS.delay))
        kill(app)
        server.wait_closed(exchange)

    with started(home, server, "--mode", "auto", "--continue") as app:
        wait_shown(app, "❯ tell me", "✗ How this turn ended is unknown: Caesura died in it.")
        assert shown(app).count("word") >= seen
        script = in_turn(calls(shell("cat one"), text="I read it."), ENDLESS)
        again = app.send(server, "/continue", script)
        assert [role for role, _ in said(again.request)] == [Role.USER, Role.ASSISTANT, Role.USER]
        assert said(again.request)[1][1].count("word") >= seen
        wait_commands(home / "work", ["cat one"], "cat")
        kill(app)
        wait_until(lambda: commands_in(home / "work", "cat") == {}, what="the command has ended")

    with started(home, server, "--mode", "auto") as app:
        wait_shown(app, "ended in the middle of a turn: Caesura died in it.", "/resume ")
        app.terminal.type(f"/resume {id_on(app)}\n")
        wait_shown(app, "I read it.", "✗ How this turn ended is unknown: Caesura died in it.")
        assert card(app.frame(), "cat one").startswith("■ shell"), app.frame()
        click_on(app, "cat one")
        app.terminal.press("ctrl+end")
        wait_shown(app, "Stopped: Caesura itself was killed while this ran.")
        last = app.ask(server, "and now", Script(text=("Here I am.",)))
        app.wait_block("Here I am.")
        (result,) = last.request.conversation.results
        assert result.text.startswith("Stopped: Caesura itself was killed while this ran.")
        app.stream(server, "more")
        app.terminal.press("escape")
        app.wait_stopped()
        final = app.ask(server, "/continue", Script(text=("The end.",)))
        app.wait_block("The end.")
        assert said(final.request)[-1][1].endswith(CONTINUE)
        leave(app, "ctrl+q")
    assert server.complaints == []


# -- in one program --


@pytest.fixture(scope="module")
def shared(server: OpenAIServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caesura]:
    home = tmp_path_factory.mktemp("kept")
    (home / "work").mkdir()
    with started(home, server, "--mode", "auto") as app:
        yield app


@pytest.fixture
def fresh(app: Caesura) -> Caesura:
    """The shared program with a new session, and an empty workspace."""
    app.terminal.type("/new\n")
    app.wait_for(lambda screen: not text_of(screen[1:-4]) and "idle" in screen[-1])
    return app


def reply(text: str) -> Script:
    return Script(text=(text,))


def writes(content: str) -> Script:
    return calls(call("write_file", path="notes.txt", content=content), text="I write it.")


def open_rewind(app: Caesura) -> None:
    """Esc Esc, as long as it takes: one that comes at the heels of a turn belongs to that."""

    def opened() -> bool:
        if "╭─ Rewind" in app.terminal.text:
            return True
        app.terminal.press("escape")
        return False

    wait_until(opened, what="the prompts to go back to", step=PRESS_S)


PRESS_S: Final = 0.6
"""Longer than what a stop has to say to a press, and shorter than the two presses may be apart."""


@pytest.mark.promise("E6", "E1")
def test_a_stop_offers_three_ways_and_undo_puts_files_back(fresh: Caesura, server: OpenAIServer) -> None:
    notes = fresh.home / "work" / "notes.txt"
    notes.write_text("mine\n")
    fresh.send(server, "change it", in_turn(writes("theirs\n"), ENDLESS))
    fresh.wait_for(lambda screen: "word word" in text_of(screen))
    assert notes.read_text() == "theirs\n"
    fresh.terminal.press("escape")
    offers = "/continue goes on, Esc Esc edits the prompt, /undo puts notes.txt back."
    assert fresh.wait_stopped() == f"connection closed. {offers}"
    fresh.terminal.type("/undo\n")
    fresh.wait_block("notes.txt is as it was.")
    assert notes.read_text() == "mine\n"
    # The model learns it with the next prompt.
    told = fresh.ask(server, "and now", reply("I see."))
    fresh.wait_block("I see.")
    assert "put these files back" in said(told.request)[-1][1]


@pytest.mark.promise("E1")
def test_esc_esc_goes_back_in_a_fork_with_files_put_back_and_clicks_open_the_old_one(
    fresh: Caesura, server: OpenAIServer
) -> None:
    notes = fresh.home / "work" / "notes.txt"
    notes.write_text("mine\n")
    for number, word in enumerate(("one", "two", "three"), start=1):
        fresh.send(server, f"change {word}", in_turn(writes(f"theirs {number}\n"), reply(f"Done {word}.")))
        fresh.wait_block(f"Done {word}.")
    open_rewind(fresh)
    fresh.wait_for(lambda screen: "change one" in text_of(screen) and "change three" in text_of(screen))
    fresh.terminal.press("home")
    fresh.terminal.press(" ")
    fresh.terminal.wait_for("notes.txt")
    fresh.terminal.press("enter")
    fresh.wait_composer("change one")
    wait_shown(fresh, "Back to before that prompt, in a copy.", "notes.txt is as it was.")
    assert notes.read_text() == "mine\n"
    fresh.terminal.type(" again")
    request = fresh.send(server, "", reply("Done anew.")).request
    fresh.wait_block("Done anew.")
    assert [role for role, _ in said(request)] == [Role.USER]
    assert said(request)[0][1].endswith("change one again")

    fresh.terminal.type("/sessions\n")
    # The fork, which is on the screen, and below it the session as it was.
    fresh.wait_for(lambda screen: len(_rows_with(screen, "change one", "A title")) > 1)
    for _ in range(2):
        fresh.terminal.mouse_click(10, _rows_with(fresh.frame(), "change one", "A title")[1])
    wait_shown(fresh, "❯ change three", "Done three.")
    assert "╭─ Sessions" not in fresh.terminal.text


def _rows_with(screen: list[str], *texts: str) -> list[int]:
    return [y for y, line in enumerate(screen) if any(text in line for text in texts)]


@pytest.mark.promise("C1", "C2")
def test_compact_is_stopped_and_then_shown_folded_and_undone(fresh: Caesura, server: OpenAIServer) -> None:
    for word in ("one", "two", "three"):
        fresh.ask(server, f"tell {word}", reply(f"{word} and many more words. " * 40))
        fresh.wait_block(f"{word} and many more words.")
    stopped = fresh.send(server, "/compact the figures", ENDLESS)
    assert "the figures" in said(stopped.request)[-1][1]
    panel = Panel(fresh)
    panel.open()
    panel.wait(lambda rows: any("compaction" in row.text for row in rows))
    panel.close()
    fresh.terminal.press("escape")
    server.wait_closed(stopped)
    rest = fresh.wait_block("■ Compaction stopped by Esc")
    assert rest.endswith("connection closed. The conversation is as it was.")

    fresh.send(server, "/compact", reply("THE SUMMARY of it.\n\nWith a second line."))
    fresh.wait_for(lambda screen: "sent as a summary" in text_of(screen))
    fresh.terminal.wait_for("Summary of the first 2 steps ▸")
    assert "THE SUMMARY" not in shown(fresh)
    click_on(fresh, "Summary of the first")
    fresh.terminal.press("ctrl+end")
    wait_shown(fresh, "Summary of the first 2 steps ▾", "THE SUMMARY of it.")
    click_on(fresh, "Summary of the first")
    fresh.wait_for(lambda screen: "THE SUMMARY" not in text_of(screen))

    short = fresh.ask(server, "and now", reply("Short."))
    fresh.wait_block("Short.")
    texts = " ".join(text for _, text in said(short.request))
    assert "THE SUMMARY of it." in texts
    assert "tell one" not in texts
    fresh.terminal.type("/uncompact\n")
    fresh.wait_block("sent whole again")
    whole = fresh.ask(server, "and then", reply("Whole."))
    fresh.wait_block("Whole.")
    texts = " ".join(text for _, text in said(whole.request))
    assert "THE SUMMARY" not in texts
    assert "tell one" in texts
    assert server.complaints == []
