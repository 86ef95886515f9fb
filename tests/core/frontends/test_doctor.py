"""The doctor: what its checks find, that none of them can fail or hold it up, and that it tells no secret."""

from __future__ import annotations

import asyncio
import json
import math
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.base.errors import CaesuraError
from core.cancel import CancelReason, CancelToken, Cause
from core.frontends.doctor.checks import (
    KeysKept,
    configuration_check,
    containment_check,
    disk_check,
    folder_check,
    keyring_check,
    keys_check,
    lag_check,
    measured_stops_check,
    model_check,
    model_process_check,
    session_file_check,
    stops_check,
    versions_check,
)
from core.frontends.doctor.command import run_doctor
from core.frontends.doctor.loop_lag import LoopLag
from core.frontends.doctor.report import (
    Check,
    Finding,
    Redaction,
    State,
    blocking,
    examine,
    is_well,
    redaction,
    report,
)
from core.frontends.doctor.stop_times import StopTimes, percentile, stop_times
from core.frontends.doctor.terminal import TerminalFacts, terminal_checks
from core.frontends.headless import Output
from core.model.provider import ModelInfo, Phase
from core.operations.operation import OperationKind, OperationState
from core.operations.registry import Registry
from core.operations.session_operations import SessionOperations
from core.process.containment import Containment

if TYPE_CHECKING:
    from collections.abc import Mapping

FINE = Finding("Fine", State.GOOD, "it is")
SESSION = "session"


async def found(check: Check) -> Finding:
    (finding,) = await examine((check,))
    return finding


def giving(finding: Finding) -> Check:
    async def look() -> Finding:
        return finding

    return Check(finding.title, look)


# -- checks run --


async def test_a_check_that_fails_is_a_finding() -> None:
    def fails() -> Finding:
        raise ZeroDivisionError("with sk-secret in it")

    def refuses() -> Finding:
        raise CaesuraError("The file cannot be read: mend it.")

    findings = await examine((blocking("Fails", fails), giving(FINE), blocking("Refuses", refuses)))
    assert findings == (
        Finding("Fails", State.UNKNOWN, "could not be looked at (ZeroDivisionError)"),
        FINE,
        Finding("Refuses", State.BAD, "The file cannot be read: mend it."),
    )
    assert not is_well(findings)


async def test_a_check_that_hangs_holds_nobody_up() -> None:
    let_go = threading.Event()

    def hangs() -> Finding:
        let_go.wait()
        return FINE

    told: list[Finding] = []
    checks = (blocking("Hangs", hangs, within_s=0.01), giving(FINE))
    findings = await examine(checks, tell=told.append)
    let_go.set()
    assert findings[0] == Finding("Hangs", State.UNKNOWN, "no answer within 0.01 s")
    assert told == [FINE, findings[0]]


async def test_a_stop_of_the_doctor_passes_through() -> None:
    waiting = asyncio.Event()

    async def waits() -> Finding:
        waiting.set()
        await asyncio.Event().wait()
        return FINE

    task = asyncio.create_task(examine((Check("Waits", waits),)))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# -- nothing is told that should not be --


async def test_no_key_host_or_home_is_told() -> None:
    environment = {"OPENAI_API_KEY": "sk-very-secret", "GITHUB_TOKEN": "ghp_1234", "LANG": "C.UTF-8"}
    redact = redaction(environment, "/home/ada", ("lovelace.example.org",))
    finding = Finding(
        "All",
        State.BAD,
        "/home/ada/.config, /home/ada2, /mnt/home/ada on lovelace and LOVELACE.example.org: sk-very-secret",
        "C.UTF-8 ghp_1234 /home/ada",
    )
    (told,) = await examine((giving(finding),), redact)
    assert told.words == "~/.config, /home/ada2, /mnt/home/ada on this machine and this machine: …"
    assert told.advice == "C.UTF-8 … ~"


@given(st.text(), st.text(min_size=6).filter(str.strip), st.text())
def test_a_secret_is_never_left_and_never_a_terminal_obeyed(before: str, secret: str, after: str) -> None:
    secret = secret.strip()
    hidden = redaction({"MY_KEY": secret}, "", ())
    if len(secret) >= 6:
        assert secret not in hidden.text(before + secret + after) or secret in (before + "…" + after)
    assert "\x1b" not in hidden.text(before)


def test_a_report_is_text_with_advice_beneath() -> None:
    bad = Finding("Disk", State.BAD, "10 MB free", "Make room.")
    assert (
        report((FINE, bad))
        == "✓ good     Fine: it is\n✗ bad      Disk: 10 MB free\n           > Make room.\n"
    )


# -- the terminal --


GOOD_TERMINAL = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "en_GB.UTF-8"}


async def terminal(
    environment: Mapping[str, str], size: tuple[int, int] | None = (120, 40), encoding: str = "utf-8"
) -> dict[str, Finding]:
    facts = TerminalFacts(environment, size, encoding)
    return {finding.title: finding for finding in await examine(terminal_checks(facts))}


async def test_a_good_terminal() -> None:
    findings = await terminal(GOOD_TERMINAL)
    assert {finding.state for finding in findings.values()} == {State.GOOD}
    assert findings["Terminal"].words == "TERM is xterm-256color, 16.7 million colours, 120 columns, 40 lines"
    assert "Esc counts at once" in findings["Keyboard"].words


@pytest.mark.parametrize(
    ("changes", "size", "title", "state", "words"),
    [
        ({"TERM": "dumb"}, (80, 24), "Terminal", State.BAD, "no colours"),
        ({"TERM": ""}, None, "Terminal", State.WARNING, "TERM is not set"),
        ({}, (39, 24), "Terminal", State.WARNING, "39 columns"),
        ({}, None, "Terminal", State.WARNING, "no terminal"),
        ({"NO_COLOR": "1"}, (80, 24), "Terminal", State.GOOD, "NO_COLOR"),
        ({"COLORTERM": ""}, (80, 24), "Terminal", State.GOOD, "256 colours"),
        ({"COLORTERM": "", "TERM": "linux"}, (80, 24), "Terminal", State.GOOD, "16 colours"),
        ({"SSH_CONNECTION": "10.0.0.1 2 3 4"}, (80, 24), "Keyboard", State.GOOD, "over SSH"),
        ({"STY": "1.x"}, (80, 24), "Keyboard", State.WARNING, "in screen"),
        ({"TERM": "xterm-kitty"}, (80, 24), "Keyboard", State.GOOD, "can report keys in full"),
    ],
)
async def test_terminals(
    changes: dict[str, str], size: tuple[int, int] | None, title: str, state: State, words: str
) -> None:
    finding = (await terminal(GOOD_TERMINAL | changes, size))[title]
    assert finding.state is state
    assert words in finding.words
    assert "10.0.0.1" not in finding.words


async def test_an_encoding_that_cannot_show_glyphs() -> None:
    finding = (await terminal(GOOD_TERMINAL | {"LANG": "C"}, encoding="ascii"))["Characters"]
    assert finding.state is State.WARNING
    assert "LANG" in finding.advice


@pytest.mark.parametrize(("delay", "state"), [("500", State.WARNING), ("10", State.GOOD)])
async def test_a_tmux_that_keeps_an_esc_back(
    delay: str, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "tmux"
    program.write_text(f"#!/bin/sh\ntest \"$*\" = 'show-options -sv escape-time' && echo {delay}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    finding = (await terminal(GOOD_TERMINAL | {"TMUX": "/tmp/tmux,1,0"}))["Keyboard"]
    assert finding.state is state
    assert f"keeps an Esc for {delay} ms" in finding.words
    assert ("escape-time" in finding.advice) == (state is State.WARNING)


# -- the machine --


async def test_what_contains_commands_says_what_it_cannot_guarantee() -> None:
    chosen = await found(containment_check(Containment.GROUP))
    assert chosen.state is State.GOOD
    assert "sudo" in chosen.words
    best = await found(containment_check())
    assert ("namespace" in best.words) == (best.state is State.GOOD)


async def test_versions_are_there_without_an_import() -> None:
    finding = await found(versions_check("textual", "litellm", "no-such-thing"))
    for name in ("Python 3.", "textual ", "litellm ", "SQLite 3.", "no-such-thing is not installed"):
        assert name in finding.words


async def test_a_folder_that_can_be_written(tmp_path: Path) -> None:
    finding = await found(folder_check("Logs", lambda: tmp_path))
    assert finding == Finding("Logs", State.GOOD, f"{tmp_path} can be written")
    there = await found(folder_check("Logs", lambda: tmp_path / "a" / "b"))
    assert there.state is State.GOOD
    assert not (tmp_path / "a").exists()


async def test_a_folder_that_cannot_be_written() -> None:
    assert (await found(folder_check("Logs", lambda: Path("/proc/self/fdinfo")))).state is State.BAD

    def no_folder() -> Path:
        raise PermissionError(13, "Permission denied", "/var/x")

    finding = await found(folder_check("Logs", no_folder))
    assert finding.state is State.BAD
    assert "/var/x cannot be written (Permission denied)" in finding.words


async def test_the_file_of_sessions(tmp_path: Path) -> None:
    path = tmp_path / "caesura.db"

    assert "none yet" in (await found(session_file_check(path))).words
    path.write_bytes(b"SQLite format 3\0" + bytes(4_080))
    good = await found(session_file_check(path))
    assert good == Finding("Session file", State.GOOD, f"{path}, 4.1 kB")
    path.write_bytes(b"something else")
    assert (await found(session_file_check(path))).state is State.BAD
    path.unlink()
    os.mkfifo(path)
    assert "is no regular file" in (await found(session_file_check(path))).words


async def test_free_space_is_told(tmp_path: Path) -> None:
    assert " free" in (await found(disk_check(tmp_path / "not" / "there"))).words


async def test_what_is_wrong_with_the_settings_is_told(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    assert "defaults" in (await found(configuration_check(path, ()))).words
    path.touch()
    assert "in order" in (await found(configuration_check(path, ()))).words
    project = path.with_name(".caesura.toml")
    both = (await found(configuration_check(path, (), project=project))).words
    assert both == f"{path} and {project}: in order"
    wrong = await found(configuration_check(path, ("config.toml, line 3: no such key.",)))
    assert (wrong.state, wrong.words) == (State.WARNING, "config.toml, line 3: no such key.")


# -- models --


async def test_keys_are_named_and_never_shown() -> None:
    environment = {"OPENAI_API_KEY": "sk-secret", "GEMINI_API_KEY": " "}
    finding = await found(keys_check(("OPENAI_API_KEY", "GEMINI_API_KEY"), environment))
    assert finding.words == "in the environment: OPENAI_API_KEY"
    assert "caesura keys set" in (await found(keys_check(("X_API_KEY",), environment))).advice


async def test_what_the_keyring_says() -> None:
    kept = KeysKept((("OPENAI_API_KEY", "keyring"),))
    assert (await found(keyring_check(lambda: kept))).words == "it answers and holds OPENAI_API_KEY (keyring)"
    locked = await found(keyring_check(lambda: KeysKept((), ("The keyring is locked.",))))
    assert (locked.state, locked.words) == (State.WARNING, "The keyring is locked.")
    filed = KeysKept((("OPENAI_API_KEY", "file"),), ("There is no keyring.",))
    words = "There is no keyring. Kept all the same: OPENAI_API_KEY (file)."
    assert (await found(keyring_check(lambda: filed))).words == words


async def test_a_model_that_is_known_one_that_is_not_and_none() -> None:
    async def describe(model: str) -> ModelInfo:
        return ModelInfo(model, 200_000 if model == "known" else None)

    assert (await found(model_check("known", describe))).state is State.GOOD
    assert (await found(model_check("other", describe))).state is State.UNKNOWN
    assert (await found(model_check("", describe))).state is State.WARNING


async def test_a_model_process_that_lives_and_one_that_does_not() -> None:
    alive = await found(model_process_check(os.getpid, lambda: 2, lambda: False))
    assert alive.state is State.GOOD
    assert "started anew 2 times" in alive.words
    assert (await found(model_process_check(lambda: None, lambda: 0, lambda: False))).state is State.WARNING
    assert (await found(model_process_check(lambda: None, lambda: 0, lambda: True))).state is State.GOOD
    assert (
        await found(model_process_check(lambda: 2**22 - 1, lambda: 0, lambda: False))
    ).state is State.WARNING


# -- how late the loop is --


async def test_a_loop_that_is_held_up_is_seen() -> None:
    lag = LoopLag(every_s=0.01)
    assert (await found(lag_check(lag))).words == "not measured yet"
    lag.start()
    lag.start()
    while lag.lag is None:  # noqa: ASYNC110 - a timer brings it about
        await asyncio.sleep(0.001)
    time.sleep(0.2)  # noqa: ASYNC251 - this is what is to be seen
    seen = lag.lag.count
    while lag.lag.count == seen:  # noqa: ASYNC110 - a timer brings it about
        await asyncio.sleep(0.001)
    timer = lag._timer
    lag.stop()
    lag.stop()
    assert timer is not None
    assert timer.cancelled()
    assert lag.lag.highest > 0.15
    finding = await found(lag_check(lag))
    assert "(p99)" in finding.words


@given(st.lists(st.floats(1e-5, 10), min_size=1, max_size=300))
def test_percentiles_of_a_lag_are_right_to_five_per_cent(values: list[float]) -> None:
    lag = LoopLag()
    for value in values:
        lag.note(value)
    assert lag.lag is not None
    assert lag.lag.highest == max(values)
    for percent, told in ((50, lag.lag.median), (99, lag.lag.p99)):
        right = percentile(values, percent)
        assert right * 0.999 <= told <= right * 1.051


async def test_a_late_loop_is_warned_of() -> None:
    lag = LoopLag()
    for _ in range(100):
        lag.note(0.2)
    assert (await found(lag_check(lag))).state is State.WARNING


# -- how fast stops are --


@pytest.mark.promise("T9")
async def test_the_stops_of_this_session_are_read_from_their_records() -> None:
    registry = Registry()
    token = CancelToken("turn")
    reason = CancelReason(Cause.USER, "esc")

    def times() -> StopTimes:
        return stop_times(SessionOperations(registry, SESSION))

    assert (await found(stops_check(times))).words == "no stop yet"
    for session, kind in ((SESSION, OperationKind.STREAM), (SESSION, OperationKind.CALL), ("other",) * 2):
        operation = registry.open(session, OperationKind(kind if kind != "other" else "call"), "x", token)
        with operation:
            operation.start(Phase.STREAMING)
            operation.token.cancel(reason)
    assert (len(times().streams), len(times().others)) == (1, 1)
    finding = await found(stops_check(times))
    assert finding.state is State.GOOD
    assert finding.words.startswith("2 stops confirmed; replies p50 ")
    assert finding.words.endswith("none unconfirmed")
    far = registry.open(SESSION, OperationKind.CALL, "far", token)
    far.token.cancel(reason)
    far.progress.note_unconfirmed("MCP server far")
    far.end(OperationState.CANCELLED)
    finding = await found(stops_check(times))
    assert (len(times().others), finding.state) == (1, State.WARNING)
    assert finding.words.endswith("never confirmed: far")
    deaf = registry.open(SESSION, OperationKind.CALL, "deaf", token)
    deaf.start(Phase.IN_CALL)
    assert times().unconfirmed == ()
    deaf.token.cancel(reason)
    finding = await found(stops_check(times))
    assert finding.state is State.BAD
    assert "not ended yet: deaf" in finding.words


async def test_stops_that_were_measured() -> None:
    async def finding(*seconds: float) -> Finding:
        async def measure() -> tuple[float, ...]:
            return seconds

        return await found(measured_stops_check(measure))

    good = await finding(*([0.001] * 19), 0.004)
    assert good.state is State.GOOD
    assert "20 replies" in good.words
    assert "p50 1.0 ms, p99 4.0 ms; none unconfirmed" in good.words
    bad = await finding(0.001, math.inf)
    assert bad.state is State.BAD
    assert "p99 never; 1 unconfirmed" in bad.words
    assert (await finding(0.9)).state is State.WARNING
    assert (await finding()).state is State.UNKNOWN


# -- without a screen --


async def test_what_is_printed_and_the_exit_code(capfd: pytest.CaptureFixture[str]) -> None:
    secret = Redaction(secrets=("hush-hush",))
    bad = Finding("Bad", State.BAD, "hush-hush", "Mend it.")
    assert await run_doctor((giving(FINE),)) == 0
    assert capfd.readouterr().out == "✓ good     Fine: it is\n"
    assert await run_doctor((giving(bad), giving(FINE)), secret, Output.JSON) == 1
    told = json.loads(capfd.readouterr().out)
    assert told["well"] is False
    assert told["findings"][0] == {"title": "Bad", "state": "bad", "words": "…", "advice": "Mend it."}
