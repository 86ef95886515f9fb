"""The command line: which front end is to run, and with what.

It must stay cheap: what only one front end needs is imported for that one alone. `caesura run` never imports
Textual.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TextIO, assert_never

from core import logs
from core.errors import CaesuraError
from core.folders import config_folder, config_path
from tui.composition import (
    Parts,
    current_folder,
    measured_stops,
    open_store,
    redacted,
    session_checks,
    settings_in,
    standing_checks,
    terminal_facts,
)
from tui.options import UsageError, check_address, parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from core.config_schema import Config
    from core.frontends.headless import Output
    from core.model import ModelChoice, ModelProvider
    from core.session import Session
    from core.sessions import Sessions
    from core.settings import Settings
    from core.setup import Chosen
    from tui.app import FirstStartPlan

log = logging.getLogger("caesura.cli")

_DEMO_WELCOME = """\
You are connected to the built-in demo model: scripted replies, but a real connection. \
Say hello, or type long, press Enter, and then Esc while it talks. Type three to see it run commands \
that you can stop one by one ({panel} shows them).\
"""


def demo_welcome() -> str:
    """What is said first with the demo; by the keys that are in force at that moment."""
    from tui.keys import key_name

    return _DEMO_WELCOME.format(panel=key_name("pane.toggle_panel"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run Caesura; the exit code. Raises nothing but argparse's `SystemExit`."""
    _occupy_standard_streams()
    try:
        options = parser().parse_args(arguments)
        logs.collect()
        return _run(options)
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace) -> int:
    try:
        if options.version:
            return _print_version()
        if options.api_base is not None:
            check_address(options.api_base)
        match options.command:
            case "sessions":
                return _run_sessions(options)
            case "config":
                return _run_config(options)
            case "keys":
                return _run_keys(options)
            case "doctor":
                return _run_doctor(options)
            case "run":
                return _run_prompt(options)
            case _:
                return _run_screen(options)
    except CaesuraError as error:
        from core.frontends.headless import ExitCode

        _say(str(error))
        return ExitCode.USAGE
    except Exception as error:
        from core.frontends.headless import ExitCode

        log.exception("an error that nobody expected")
        # Whoever wrote the files before has stopped by now.
        listener = logs.open_files()
        if listener is not None:
            listener.stop()
        where = "there is no place for a log" if listener is None else f"{logs.state_folder()}/caesura.log"
        _say(
            f"a fault in Caesura has ended it ({type(error).__name__}: {error}). Please report it with what "
            f"the log says: {where}."
        )
        return ExitCode.FAILED


def _occupy_standard_streams() -> None:
    """Put /dev/null where a standard stream is closed, lest the next pipe that is opened takes its number.

    `sys.stdin` and `sys.stdout` stay None, for to ask or answer there is an error; what is said on a closed
    standard error goes nowhere.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _say(text: str) -> None:
    from core.sanitize import printable

    # Where nobody listens, the exit code still tells.
    with contextlib.suppress(OSError):
        print(f"caesura: {printable(text)}", file=sys.stderr, flush=True)


# -- without a model --


def _run_sessions(options: argparse.Namespace) -> int:
    """What needs no model and no screen."""
    import asyncio

    from core.frontends.sessions import run_sessions
    from core.sessions import Archive
    from tui.sessions_command import sessions_command

    command = sessions_command(options)
    archive = Archive(open_store(), current_folder())

    async def run() -> int:
        return await run_sessions(command, archive)

    return asyncio.run(run())


def _run_config(options: argparse.Namespace) -> int:
    from core.frontends.config import run_config
    from tui.config_command import config_command

    return run_config(config_command(options), config_path(), current_folder(), _check_config)


def _check_config(config: Config) -> None:
    """What only others know of the settings: the names of keys and of the theme, and whether the routes lead
    anywhere. Raises `CaesuraError`."""
    from providers.routes import check_routes
    from tui.config_command import check_keys, check_theme

    check_keys(config)
    check_theme(config, config_folder() / "themes")
    if faults := check_routes(config.model_settings):
        raise CaesuraError(" ".join(faults))


def _run_keys(options: argparse.Namespace) -> int:
    from providers.key_store import KeyStore
    from providers.keys_frontend import run_keys
    from tui.keys_command import keys_command

    command = keys_command(options)
    settings = settings_in(current_folder(), options)
    return run_keys(command, KeyStore(extra=settings.key_names()), partial(_provider, settings), _say)


@contextlib.contextmanager
def _provider(settings: Settings) -> Iterator[ModelProvider]:
    """What answers a single request."""
    from providers.process import ModelProcess
    from providers.routing import Router

    process = ModelProcess(lambda: logs.state_folder() / "worker.log")
    process.start()
    try:
        yield Router(process, settings.models)
    finally:
        process.close()


def _run_doctor(options: argparse.Namespace) -> int:
    import asyncio

    from core.frontends.doctor import run_doctor
    from tui.doctor_command import doctor_output
    from tui.terminal_query import reports_keys_in_full

    with ExitStack() as stack:
        parts = Parts(options, stack)
        facts = replace(terminal_facts(), kitty=reports_keys_in_full(0, 1))

        async def run() -> int:
            checks = (*standing_checks(parts, facts), measured_stops(parts, stack))
            return await run_doctor(checks, redacted(), doctor_output(options))

        return asyncio.run(run())


# -- with a screen --


def _run_screen(options: argparse.Namespace) -> int:
    # Textual draws on standard error.
    if not all(_is_terminal(stream) for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise UsageError('this is not a terminal: use `caesura run "prompt"` in scripts and pipes.')
    if os.environ.get("TERM") == "dumb":
        raise UsageError(
            "this terminal cannot show a screen (TERM is dumb): start Caesura in another one, or use "
            '`caesura run "prompt"`.'
        )
    # No collection in the imports and the first frame, where there is next to nothing to collect; the app
    # turns it on again. At its usual 60 frames a second Textual often lets a key wait for a second frame.
    gc.disable()
    os.environ.setdefault("TEXTUAL_FPS", "120")
    with ExitStack() as stack:
        parts = Parts(options, stack)
        import asyncio

        return asyncio.run(_show(parts, options, stack))


async def _show(parts: Parts, options: argparse.Namespace, stack: ExitStack) -> int:
    import asyncio

    from core.model import ModelChoice
    from tui.preferences import Preferences

    is_first_start = parts.is_first_start
    router = parts.router()
    preferences = Preferences(
        parts.settings,
        router,
        ModelChoice("") if is_first_start else parts.choose(),
        is_chosen=parts.is_model_chosen,
        checks=partial(session_checks, parts),
        redaction=redacted,
    )
    sessions = parts.sessions(router, lambda: preferences.choice)

    def open_logs() -> None:
        if (listener := logs.open_files()) is not None:
            stack.callback(listener.stop)

    # What is to be gone on with is read while the screen is imported.
    opening = None if is_first_start else asyncio.create_task(_first_session(sessions, options), name="first")
    await asyncio.sleep(0)
    from tui.app import CaesuraApp, run_app
    from tui.theme_terminal import TerminalLooks

    first = None if opening is None else await opening
    app = CaesuraApp(
        None if first is None else partial(_given, first),
        sessions,
        preferences=preferences,
        first_start=_first_start(parts, lambda: _first_session(sessions, options))
        if is_first_start
        else None,
        theme_name=options.theme or parts.look.theme,
        own_themes=config_folder() / "themes",
        looks=TerminalLooks.of(os.environ),
        keymap=parts.look.keys,
        after_first_frame=open_logs,
        log_name="caesura.log in the state folder",
        welcome=demo_welcome if options.demo else None,
    )
    try:
        return await run_app(app, parts.process.kill)
    finally:
        await sessions.aclose()


def _given(session: Session) -> Session:
    return session


def _first_start(parts: Parts, open_first: Callable[[], Awaitable[Session]]) -> FirstStartPlan:
    """What is done when nobody has ever said which model is to answer."""
    from core.setup import DemoChosen, ModelChosen
    from core.threads import run_in_thread
    from providers.first_setup import FirstSetup
    from tui.app import FirstStartPlan

    async def settle(chosen: Chosen) -> ModelChoice:
        match chosen:
            case ModelChosen():
                return chosen.choice
            case DemoChosen():
                return await run_in_thread(parts.choose_demo, name="demo model")
            case _:
                assert_never(chosen)

    setup = FirstSetup(parts.process, parts.settings.save_choice)
    return FirstStartPlan(setup, settle, open_first, demo_welcome)


def _run_prompt(options: argparse.Namespace) -> int:
    import asyncio

    from core.frontends.headless import Output, run_prompt

    if options.theme is not None:
        raise UsageError("--theme is for the screen: leave it out with `run`, which has none.")
    if sys.stdout is None:
        raise UsageError("standard output is closed: send it to a file or a pipe, for the reply goes there.")
    prompt = options.prompt
    if prompt is None:
        if sys.stdin is None or _is_terminal(sys.stdin):
            raise UsageError('there is no prompt: `caesura run "prompt"`, or send it to standard input.')
        prompt = sys.stdin.buffer.read().decode("utf-8", "replace")
    if not prompt.strip():
        raise UsageError("the prompt is empty: write something to answer.")
    output: Output = Output.JSON if options.json else Output.TEXT
    with ExitStack() as stack:
        parts = Parts(options, stack)
        choice = parts.choose()
        if (listener := logs.open_files()) is not None:
            stack.callback(listener.stop)
        sessions = parts.sessions(parts.router(), lambda: choice)

        async def run() -> int:
            try:
                return await run_prompt(await _first_session(sessions, options), prompt, output)
            finally:
                await sessions.aclose()

        return asyncio.run(run())


async def _first_session(sessions: Sessions, options: argparse.Namespace) -> Session:
    """The session that the command line asks for, else a new one. Raises `CaesuraError`."""
    if options.resume is not None:
        return await sessions.open((await sessions.find(options.resume)).session_id)
    if not options.latest:
        return sessions.new()
    recent = await sessions.recent()
    if not recent:
        raise UsageError("there is no session in this folder to continue: leave out --continue.")
    # Also if another Caesura has it open: then it says so, and can be read.
    return await sessions.open(recent[0].session_id)


def _print_version() -> int:
    from importlib.metadata import PackageNotFoundError, version

    try:
        told = f"caesura {version('caesura')}"
    except PackageNotFoundError:
        told = "caesura, not installed: it runs from its source and has no version"
    try:
        print(told, flush=True)
    except OSError as error:
        # Else the interpreter complains when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise CaesuraError(
            f"Standard output takes nothing more ({error.strerror}): send it somewhere else."
        ) from error
    return 0
