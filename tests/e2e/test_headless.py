"""`caesura run`: the reply and nothing else on standard output, and an end whatever the other side does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers.script import Call, Refusal, Refuse, Script, in_turn
from tests.support.live_processes import marked, streamer_of
from tests.support.program import (
    API_KEY,
    ENDLESS,
    PROGRAM,
    environment,
    nonblocking_pipe,
    read_slowly,
    talk_to,
)
from tests.support.terminal import Terminal
from tests.support.waiting import GENEROUS_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.openai import OpenAIServer

TEXT = ("First **line**.\n", "\n", "- ünïcödé 漢字\n", "\x1b[31mas it is\x1b[0m", " end")
MARK = "CAESURA_TEST_RUN"
FLOOD = Script(text=("0123456789abcde\n" * 64,), endless=True)


class Run:
    """One `caesura run` and what comes out of it."""

    def __init__(self, process: subprocess.Popen[bytes], home: Path, mark: str) -> None:
        self.process = process
        self.home = home
        self._mark = mark
        self._errors = bytearray()
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()

    def _read_errors(self) -> None:
        if self.process.stderr is None:
            return
        while data := os.read(self.process.stderr.fileno(), 4096):
            self._errors += data

    def read_until(self, text: bytes) -> bytes:
        """Read standard output until it contains `text`."""
        assert self.process.stdout is not None
        output = b""
        while text not in output:
            data = os.read(self.process.stdout.fileno(), 4096)
            assert data, f"the end came before {text!r}: {output!r} {bytes(self._errors)!r}"
            output += data
        return output

    def wait(self) -> int:
        return self.process.wait(GENEROUS_S)

    def rest(self) -> bytes:
        """What is left on standard output, to its end."""
        assert self.process.stdout is not None
        return self.process.stdout.read()

    def errors(self) -> str:
        """Standard error, once it has ended."""
        self._reader.join(GENEROUS_S)
        return self._errors.decode()

    def errors_so_far(self) -> str:
        return self._errors.decode()

    def processes(self) -> list[int]:
        return marked(self._mark)

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted((self.home / "state").rglob("*.log*")))


@contextmanager
def run(
    home: Path,
    *arguments: str,
    stdin: bytes | None = None,
    env: dict[str, str | None] | None = None,
    **options: Any,
) -> Iterator[Run]:
    """Start `caesura run` with these arguments; `stdin` None leaves it empty."""
    mark = uuid.uuid4().hex
    changes = environment(home) | (env or {}) | {MARK: mark}
    full = {name: value for name, value in (os.environ | changes).items() if value is not None}
    process = subprocess.Popen(
        [*PROGRAM, "run", *arguments],
        env=full,
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )
    with process:
        try:
            if stdin is not None:
                assert process.stdin is not None
                process.stdin.write(stdin)
                process.stdin.close()
            yield Run(process, home, f"{MARK}={mark}")
        finally:
            process.kill()


def command_lines(processes: list[int]) -> list[str]:
    return [
        subprocess.run(
            ["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=True
        ).stdout
        for pid in processes
    ]


def assert_nothing_is_left(finished: Run) -> None:
    wait_until(lambda: finished.processes() == [], what="no process is left")
    assert API_KEY not in finished.logs() + finished.errors()
    assert "Traceback" not in finished.errors()


def test_the_reply_and_nothing_else_is_on_standard_output(tmp_path: Path, server: OpenAIServer) -> None:
    server.script = Script(text=TEXT)
    # A session of its own has no terminal at all.
    with run(tmp_path, *talk_to(server), stdin="say it, ü\n".encode(), start_new_session=True) as finished:
        assert finished.rest().decode() == "".join(TEXT) + "\n"
        assert finished.wait() == 0
        assert finished.errors() == ""
        assert_nothing_is_left(finished)
    system, *said = server.exchanges[-1].request.body["messages"]
    assert system["role"] == "system"
    assert said == [{"role": "user", "content": "say it, ü\n"}]


@pytest.mark.parametrize(
    ("arguments", "stdin", "sentence"),
    [
        (("--demo",), None, "the prompt is empty"),
        (("--demo", "  "), None, "the prompt is empty"),
        (("--demo", "--model", "x", "hi"), None, "--demo is a model of its own"),
        (("hi",), None, "no model is chosen"),
        (("--no-such-option", "hi"), None, "unrecognized arguments: --no-such-option"),
    ],
)
def test_a_wrong_command_line_is_told_with_code_2(
    tmp_path: Path, arguments: tuple[str, ...], stdin: bytes | None, sentence: str
) -> None:
    with run(tmp_path, *arguments, stdin=stdin, env={"OPENAI_API_KEY": None}) as finished:
        assert finished.wait() == 2
        assert finished.rest() == b""
        assert sentence in finished.errors()
        assert_nothing_is_left(finished)


def test_without_a_terminal_the_screen_is_refused(tmp_path: Path) -> None:
    full = {name: value for name, value in (os.environ | environment(tmp_path)).items() if value is not None}
    refused = subprocess.run(
        [*PROGRAM, "--demo"], env=full, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr == (
        'caesura: this is not a terminal: use `caesura run "prompt"` in scripts and pipes.\n'
    )


@pytest.mark.promise("Q1", "Q4", "P1")
def test_sigint_stops_it_with_what_there_is_and_the_key_was_seen_nowhere(
    tmp_path: Path, server: OpenAIServer
) -> None:
    server.script = ENDLESS
    with run(tmp_path, *talk_to(server), "talk") as stopped:
        begun = stopped.read_until(b"word word ")
        exchange = server.exchanges[-1]
        assert exchange.request.headers["authorization"] == f"Bearer {API_KEY}"
        assert len(stopped.processes()) >= 2
        assert all(API_KEY not in line for line in command_lines(stopped.processes()))
        stopped.process.send_signal(signal.SIGINT)
        server.wait_closed(exchange)
        assert exchange.closed_by_peer
        whole = (begun + stopped.rest()).decode()
        assert stopped.wait() == 130
        assert whole == "word " * (len(whole) // 5) + "\n"
        assert "cancelled by SIGINT after " in stopped.errors()
        assert "connection closed" in stopped.errors()
        assert_nothing_is_left(stopped)
        written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        assert written
        assert all(API_KEY.encode() not in data for data in written)


@pytest.mark.promise("Q1", "Q4")
def test_a_stopped_json_run_prints_its_final_event(tmp_path: Path, server: OpenAIServer) -> None:
    server.script = ENDLESS
    with run(tmp_path, *talk_to(server), "--json", "talk") as stopped:
        exchange = server.wait_request(len(server.exchanges) + 1)
        server.wait_deltas(exchange, 5)
        stopped.process.send_signal(signal.SIGTERM)
        event = json.loads(stopped.rest())
        assert stopped.wait() == 143
        server.wait_closed(exchange)
        assert_nothing_is_left(stopped)
    assert event["outcome"] == "cancelled"
    assert event["text"] == "" or event["text"].startswith("word ")
    assert event["proof"]["source"] == "SIGTERM"
    assert event["proof"]["closing"] == "closed"


@pytest.mark.promise("Q1", "P4", "X7")
def test_a_second_sigint_does_not_wait_for_a_model_process_that_hangs(
    tmp_path: Path, server: OpenAIServer
) -> None:
    server.script = ENDLESS
    with run(tmp_path, *talk_to(server), "talk") as stopped:
        stopped.read_until(b"word ")
        exchange = server.exchanges[-1]
        model_process = streamer_of(stopped.process.pid)
        os.kill(model_process, signal.SIGSTOP)
        stopped.process.send_signal(signal.SIGINT)
        stopped.process.send_signal(signal.SIGINT)
        stopped.rest()
        assert stopped.wait() == 130
        server.wait_closed(exchange)
        assert "connection killed" in stopped.errors()
        assert_nothing_is_left(stopped)


@pytest.mark.promise("P1", "X7")
def test_a_reader_that_leaves_ends_it_and_its_request(tmp_path: Path, server: OpenAIServer) -> None:
    server.script = ENDLESS
    with run(tmp_path, *talk_to(server), "talk") as left:
        assert left.process.stdout is not None
        left.read_until(b"word word")
        left.process.stdout.close()
        server.wait_closed(server.exchanges[-1])
        assert left.wait() == 141
        assert_nothing_is_left(left)


@pytest.mark.promise("Q1", "P1")
def test_a_reader_that_never_reads_does_not_hold_up_a_stop(tmp_path: Path, server: OpenAIServer) -> None:
    server.script = FLOOD
    with run(tmp_path, *talk_to(server), "flood") as stopped:
        exchange = server.wait_request(len(server.exchanges) + 1)
        # Many times what a pipe holds.
        server.wait_deltas(exchange, 2000)
        stopped.process.send_signal(signal.SIGINT)
        server.wait_closed(exchange)
        assert stopped.wait() == 130
        assert_nothing_is_left(stopped)


@pytest.mark.promise("Q1")
def test_a_signal_ends_it_when_the_reply_is_complete_and_nobody_reads_it(
    tmp_path: Path, server: OpenAIServer
) -> None:
    # More than a pipe holds.
    server.script = Script(text=("0123456 " * 500,) * 25)
    with run(tmp_path, *talk_to(server), "--json", "flood") as stopped:
        # The object is written when the turn is over.
        stopped.read_until(b"{")
        stopped.process.send_signal(signal.SIGTERM)
        assert stopped.wait() == 143
        assert_nothing_is_left(stopped)


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """The end for writing of a pipe that takes nothing more."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    with suppress(BlockingIOError):
        while True:
            os.write(write, bytes(4096))
    os.set_blocking(write, True)
    yield write
    os.close(read)
    os.close(write)


def test_a_reply_is_written_whole_to_output_that_does_not_block(tmp_path: Path, server: OpenAIServer) -> None:
    server.script = Script(text=("0123456 " * 500,) * 25)
    with (
        nonblocking_pipe() as (read, write),
        run(tmp_path, *talk_to(server), "go", stdout=write) as finished,
    ):
        os.close(write)
        assert read_slowly(read) == b"0123456 " * 12_500 + b"\n"
        assert finished.wait() == 0


@pytest.mark.promise("Q1")
def test_a_standard_error_that_takes_nothing_holds_up_neither_the_reply_nor_the_end(
    tmp_path: Path, server: OpenAIServer, full_pipe: int
) -> None:
    # The tool's refusal is said there while the turn runs.
    server.script = in_turn(Script(text=(), calls=(Call("call_1", "no_such_tool"),)), Script())
    with run(tmp_path, *talk_to(server), "call", stderr=full_pipe) as finished:
        assert finished.rest() == b"Hello, world.\n"
        assert finished.wait() == 0
        assert_nothing_is_left(finished)


def test_a_terminal_gets_the_printable_form_of_the_whole_reply(tmp_path: Path, server: OpenAIServer) -> None:
    server.script = Script(text=("a\r", "\nb\x9b31m", "👩", "\u200d", "👩"), delay=0.1)
    command = [*PROGRAM, "run", *talk_to(server)]
    env = environment(tmp_path)
    with (
        Terminal([*command, "talk"], env=env, emulate=False) as text,
        Terminal([*command, "--json", "talk"], env=env, emulate=False) as event,
    ):
        text.wait_for_output("a\r\nb\N{REPLACEMENT CHARACTER}31m👩\u200d👩\r\n".encode())
        event.wait_for_output(b"a\\r\\nb\\u009b31m")
        assert (text.wait_exit(), event.wait_exit()) == (0, 0)


def test_a_failure_is_one_sentence_on_standard_error(tmp_path: Path, server: OpenAIServer) -> None:
    server.script = Script(fault=Refuse(Refusal.WRONG_KEY))
    # The key that the server's answer repeats.
    with run(tmp_path, *talk_to(server), "hello", env={"OPENAI_API_KEY": "sk-wrong"}) as failed:
        assert failed.rest() == b""
        assert failed.wait() == 1
        assert failed.errors() == (
            f"caesura: The server at {server.url} refused the key: store another one with "
            "`caesura keys set openai`, or check OPENAI_API_KEY in the environment.\n"
        )
        assert "sk-wrong" not in failed.logs()
        assert_nothing_is_left(failed)
