"""The command line: chooses the front end and runs it.

It must stay cheap: what only one front end needs is imported there. `caesura run` never imports Textual.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, TextIO, assert_never

from msgspec.structs import replace

from core.base import logs
from core.base.errors import CaesuraError
from core.base.folders import config_folder, config_path
from core.base.output import write_messages, write_output
from core.base.scheduling import run_soon
from tui.cli.composition import (
    Parts,
    current_folder,
    measured_stops,
    open_store,
    redacted,
    session_checks,
    settings_in,
    standing_checks,
    start_model_process,
    terminal_facts,
)
from tui.cli.parser import OUTPUT_CLOSED, UsageError, check_address, parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from core.config.schema import Config
    from core.config.settings import Settings
    from core.frontends.headless import Output
    from core.frontends.server_check.command import MakeAsker
    from core.model.provider import ModelChoice, ModelProvider
    from core.model.settings import ModelSettings
    from core.model.setup import Chosen
    from core.session.archive import Sessions
    from core.session.session import Session
    from tui.app.first_start.plan import FirstStartPlan

log = logging.getLogger("caesura.cli")

_DEMO_WELCOME = """\
You are connected to the built-in demo model: scripted replies, but a real connection. \
Say hello, or type long, press Enter, and then Esc while it talks. Type three to see it run commands \
that you can stop one by one ({panel} shows them).\
"""


def demo_welcome() -> str:
    """The first message with the demo model, with the keys in force at that moment."""
    from tui.keys.bindings import key_name

    return _DEMO_WELCOME.format(panel=key_name("pane.toggle_panel"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run Caesura and return its exit code. Raises only argparse's `SystemExit`."""
    _open_closed_streams()
    _set_home()
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

        write_messages(str(error))
        return ExitCode.USAGE
    except Exception as error:
        from core.frontends.headless import ExitCode

        log.exception("an error that nobody expected")
        # The listener of the run has stopped by now.
        listener = logs.open_files()
        if listener is not None:
            listener.stop()
        where = "there is no place for a log" if listener is None else f"{logs.state_folder()}/caesura.log"
        write_messages(
            f"a fault in Caesura has ended it ({type(error).__name__}: {error}). Please report it with what "
            f"the log says: {where}."
        )
        return ExitCode.FAILED


def _open_closed_streams() -> None:
    """Open /dev/null for each closed standard stream, so that no later pipe gets its number.

    `sys.stdin` and `sys.stdout` stay None: using them is an error. Messages to a closed standard error are
    dropped.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def _set_home() -> None:
    """Look the home folder up if HOME is not set: later this would happen on the event loop."""
    home = os.path.expanduser("~")  # noqa: PTH111 - `Path.home` raises where nobody knows it
    if home != "~":
        os.environ.setdefault("HOME", home)


def _output(options: argparse.Namespace) -> Output:
    from core.frontends.headless import Output

    return Output.JSON if options.json else Output.TEXT


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _run_sessions(options: argparse.Namespace) -> int:
    import asyncio

    from core.frontends.sessions import run_sessions
    from core.session.archive import Archive
    from tui.cli.sessions import sessions_command

    return asyncio.run(run_sessions(sessions_command(options), Archive(open_store(), current_folder())))


def _run_config(options: argparse.Namespace) -> int:
    if options.action == "check" and options.server is not None:
        return _run_server_check(options)
    from core.frontends.config import run_config
    from tui.cli.config import config_command

    return run_config(config_command(options), config_path(), current_folder(), _check_config)


def _run_server_check(options: argparse.Namespace) -> int:
    from core.frontends.server_check.command import run_server_check

    loaded = settings_in(current_folder(), options).load()
    return run_server_check(options.server, options.model, loaded, _server_asker)


@contextlib.contextmanager
def _server_asker() -> Iterator[MakeAsker]:
    """Makes what asks a server with altered settings; its process ends with the block."""
    from providers.routing.router import Router

    def make(models: ModelSettings) -> Router:
        async def settings() -> ModelSettings:
            return models

        return Router(process, settings)

    with contextlib.closing(start_model_process()) as process:
        yield make


def _check_config(config: Config) -> None:
    """Check what the settings alone cannot: names of keys and themes, and routes. Raises `CaesuraError`."""
    from providers.routing.routes import check_routes
    from tui.cli.config import check_keys, check_theme

    check_keys(config)
    check_theme(config, config_folder() / "themes")
    if faults := check_routes(config.model_settings):
        raise CaesuraError(" ".join(faults))


def _run_keys(options: argparse.Namespace) -> int:
    from providers.keys.frontend import run_keys
    from providers.keys.store import KeyStore
    from tui.cli.keys import keys_command

    command = keys_command(options)
    settings = settings_in(current_folder(), options)
    return run_keys(
        command, KeyStore(extra=settings.key_names()), partial(_provider, settings), write_messages
    )


@contextlib.contextmanager
def _provider(settings: Settings) -> Iterator[ModelProvider]:
    """A provider for a single request; its process ends with the block."""
    from providers.routing.router import Router

    with contextlib.closing(start_model_process()) as process:
        yield Router(process, settings.models)


def _run_doctor(options: argparse.Namespace) -> int:
    import asyncio

    from core.frontends.doctor.command import run_doctor
    from tui.terminal.query import reports_keys_in_full

    with ExitStack() as stack:
        parts = Parts(options, stack)
        facts = replace(terminal_facts(), kitty=reports_keys_in_full(0, 1))

        async def run() -> int:
            checks = (*standing_checks(parts, facts), measured_stops(parts, stack))
            return await run_doctor(checks, redacted(), _output(options))

        return asyncio.run(run())


def _run_screen(options: argparse.Namespace) -> int:
    # Textual draws on standard error.
    if not all(_is_terminal(stream) for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise UsageError('this is not a terminal: use `caesura run "prompt"` in scripts and pipes.')
    if os.environ.get("TERM") == "dumb":
        raise UsageError(
            "this terminal cannot show a screen (TERM is dumb): start Caesura in another one, or use "
            '`caesura run "prompt"`.'
        )
    # No garbage collection during the imports and the first frame, where there is little garbage; the app
    # turns it on again. At 60 frames a second, its default, Textual often lets a key wait for a second frame.
    gc.disable()
    os.environ.setdefault("TEXTUAL_FPS", "120")
    run_soon()
    with ExitStack() as stack:
        parts = Parts(options, stack)
        import asyncio

        return asyncio.run(_show(parts, options, stack))


async def _show(parts: Parts, options: argparse.Namespace, stack: ExitStack) -> int:
    import asyncio

    from core.model.provider import ModelChoice
    from tui.pane.preferences import Preferences

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

    logs_open = threading.Lock()

    def open_logs() -> None:
        """Once, and at the latest at the end: what ended the program is to be found there."""
        if logs_open.acquire(blocking=False) and (listener := logs.open_files()) is not None:
            stack.callback(listener.stop)

    # A session to continue is read while the screen is imported.
    opening = None if is_first_start else asyncio.create_task(_first_session(sessions, options), name="first")
    await asyncio.sleep(0)
    from tui.app.app import CaesuraApp, run_app
    from tui.terminal.looks import TerminalLooks

    first = None if opening is None else await opening
    app = CaesuraApp(
        None if first is None else lambda: first,
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
        welcome=demo_welcome if options.demo else None,
        on_activity=parts.process.prepare,
    )
    try:
        return await run_app(app, parts.process.kill)
    finally:
        await sessions.aclose()
        open_logs()


def _first_start(parts: Parts, open_first: Callable[[], Awaitable[Session]]) -> FirstStartPlan:
    """The first start: no model has been chosen yet."""
    from core.base.threads import run_in_thread
    from core.model.setup import DemoChosen, ModelChosen
    from providers.setup.first_setup import FirstSetup
    from tui.app.first_start.plan import FirstStartPlan

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

    from core.frontends.headless import run_prompt

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
    run_soon()
    with ExitStack() as stack:
        parts = Parts(options, stack)
        choice = parts.choose()
        if (listener := logs.open_files()) is not None:
            stack.callback(listener.stop)
        sessions = parts.sessions(parts.router(), lambda: choice)

        async def run() -> int:
            try:
                return await run_prompt(await _first_session(sessions, options), prompt, _output(options))
            finally:
                await sessions.aclose()

        return asyncio.run(run())


async def _first_session(sessions: Sessions, options: argparse.Namespace) -> Session:
    """The session that the options name, or a new one. Raises `CaesuraError`."""
    if options.resume is not None:
        return await sessions.open((await sessions.find(options.resume)).session_id)
    if not options.latest:
        return sessions.new()
    recent = await sessions.recent()
    if not recent:
        raise UsageError("there is no session in this folder to continue: leave out --continue.")
    # Also if another process has it open: then the session is read-only and says so.
    return await sessions.open(recent[0].session_id)


def _print_version() -> int:
    from importlib.metadata import PackageNotFoundError, version

    try:
        told = f"caesura {version('caesura')}"
    except PackageNotFoundError:
        told = "caesura, not installed: it runs from its source and has no version"
    try:
        if sys.stdout is not None:
            write_output(f"{told}\n")
    except BrokenPipeError:
        return OUTPUT_CLOSED
    return 0
