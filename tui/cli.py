"""The command line, and the one place where the parts are put together.

It must stay cheap: the model process starts before anything else is imported, and what only one front end
needs is imported for that one alone. `caesura run` never imports Textual.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import math
import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, TextIO

from core import logs
from core.errors import CaesuraError
from tui.sessions_command import add_sessions, sessions_command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from core.frontends.headless import Output
    from core.journal import Opened
    from core.model import ModelChoice
    from core.session import Session
    from core.sessions import Sessions
    from core.store import Store
    from providers.process import ModelProcess

log = logging.getLogger("caesura.cli")

DEFAULT_MODELS = {
    "ANTHROPIC_API_KEY": "anthropic/claude-sonnet-4-5",
    "OPENAI_API_KEY": "openai/gpt-5.1",
    "GEMINI_API_KEY": "gemini/gemini-2.5-pro",
    "GOOGLE_API_KEY": "gemini/gemini-2.5-pro",
}
"""Which model answers when only a key says which provider the user has."""

DEMO_WELCOME = """\
You are connected to the built-in demo model: scripted replies, but a real connection. \
Say hello, or type long, press Enter, and then Esc while it talks. Type three to see it run commands \
that you can stop one by one (Ctrl+T shows them).\
"""

EXIT_CODES = """\
exit codes of `caesura run`: 0 the reply is complete, 1 it failed, 2 the command line is wrong,
130 stopped by SIGINT, 143 by SIGTERM, 129 by SIGHUP, 141 nobody reads the output any more.
"""


class UsageError(CaesuraError):
    """The command line asks for something that cannot be."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run Caesura; the exit code. Raises nothing but argparse's `SystemExit`."""
    _occupy_standard_streams()
    try:
        options = _parser().parse_args(arguments)
        logs.collect()
        return _run(options)
    except KeyboardInterrupt:
        return 130


def choose_model(model: str | None, environment: Mapping[str, str]) -> str:
    """The model to use: the one that was named, else one of the provider whose key is there.

    Raises `UsageError` when nothing says which.
    """
    if model:
        return model
    for variable, default in DEFAULT_MODELS.items():
        if environment.get(variable):
            return default
    raise UsageError(
        "no model is chosen: try `caesura --demo`, which needs none, or name one, as in "
        "`caesura --model anthropic/claude-sonnet-4-5`, with its key in ANTHROPIC_API_KEY."
    )


def _run(options: argparse.Namespace) -> int:
    try:
        if options.version:
            return _print_version()
        if options.api_base is not None:
            _check_address(options.api_base)
        if options.command == "sessions":
            return _run_sessions(options)
        return _run_prompt(options) if options.command == "run" else _run_screen(options)
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


def _check_address(api_base: str) -> None:
    """Raises `UsageError` for what is not the address of a web server."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(api_base)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if usable:
        return
    if api_base and "://" not in api_base:
        raise UsageError(f"--api-base {api_base} has no scheme: did you mean http://{api_base}?")
    raise UsageError(
        f"--api-base {api_base!r} is not the address of a server: it looks like http://localhost:8000 or "
        "https://example.com/v1."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="caesura",
        description="A terminal assistant for which interruption always works.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--theme", default=None, metavar="NAME", help="caesura-dark (default) or caesura-light; not for `run`"
    )
    _add_common_options(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="print the reply to one prompt, without a screen",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("prompt", nargs="?", help="the prompt; without it, standard input is read")
    run.add_argument(
        "--json", action="store_true", help="print one JSON object at the end: outcome, text, proof"
    )
    # Not given is not the same as None here: it must not undo what stood before `run`.
    _add_common_options(run, default=argparse.SUPPRESS)
    add_sessions(commands)
    return parser


def _add_common_options(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    off = argparse.SUPPRESS if default is not None else False
    parser.add_argument("--version", action="store_true", default=off, help="print the version and end")
    parser.add_argument("--demo", action="store_true", default=off, help="talk to the built-in demo model")
    parser.add_argument("--model", metavar="NAME", default=default, help="litellm's name of the model")
    parser.add_argument(
        "--mode",
        metavar="MODE",
        choices=("ask", "edits", "plan", "auto"),
        default=default,
        help="what is done without a question: ask (the default), edits, plan (nothing changes) or auto",
    )
    parser.add_argument(
        "--max-steps", metavar="N", type=_count, default=default, help="end a turn after N replies"
    )
    parser.add_argument(
        "--max-budget",
        metavar="DOLLARS",
        type=_dollars,
        default=default,
        help="make no more requests when the session has cost so much",
    )
    parser.add_argument(
        "--deadline", metavar="SECONDS", type=_seconds, default=default, help="stop a turn after this time"
    )
    parser.add_argument(
        "-c",
        "--continue",
        dest="latest",
        action="store_true",
        default=off,
        help="go on with the session that was used last in this folder",
    )
    parser.add_argument(
        "--resume",
        metavar="SESSION",
        default=default,
        help="go on with this session; `caesura sessions` lists them",
    )
    parser.add_argument(
        "--api-base", metavar="URL", default=default, help="the address of the model's server"
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of steps: give 1 or more")
    return int(text)


def _dollars(text: str) -> float:
    dollars = _number(text)
    if not 0 <= dollars < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a sum in dollars: 0.50 or 2, for instance")
    return dollars


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _seconds(text: str) -> float:
    seconds = _number(text)
    if not math.isfinite(seconds):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in seconds: 90 or 2.5, for instance")
    return seconds


def _open_model(options: argparse.Namespace, stack: ExitStack) -> tuple[ModelProcess, ModelChoice]:
    """Start the model process, and the demo model if it is asked for; both end with `stack`."""
    if options.demo and (options.model or options.api_base):
        raise UsageError("--demo is a model of its own: leave out --model and --api-base, or --demo.")
    name = None if options.demo else choose_model(options.model, os.environ)
    from providers.process import ModelProcess

    process = ModelProcess(lambda: logs.state_folder() / "worker.log")
    process.start()
    stack.callback(process.close)
    from core.model import ModelChoice

    if name is not None:
        return process, ModelChoice(name, options.api_base)
    from providers.demo import DemoServer

    demo = stack.enter_context(DemoServer())
    return process, ModelChoice(demo.model, demo.url)


def _open_sessions(process: ModelProcess, choice: ModelChoice, options: argparse.Namespace) -> Sessions:
    """The sessions of this person, new ones in the current folder. Raises `UsageError` when that is gone."""
    from dataclasses import replace

    from core.access import Workspace
    from core.equipment import Equipment
    from core.operations import Registry
    from core.permissions import Mode, Permissions
    from core.prompt import system_prompt
    from core.session import Session
    from core.sessions import Sessions
    from core.settings import Settings
    from core.tools.toolbox import Toolbox
    from core.turn import Limits

    folder = _current_folder()
    registry = Registry()
    settings = Settings(folder, _key_names)
    mode = None if options.mode is None else Mode(options.mode)
    limits = Limits(options.max_steps, options.deadline, options.max_budget)
    choice = replace(choice, system=system_prompt(folder))
    store = _open_store()

    def make_session(opened: Opened | None) -> Session:
        equipment = Equipment(
            Permissions(Workspace(folder), mode=mode or Mode.ASK),
            lambda session: Toolbox(session, settings),
            limits,
            mode_chosen=mode is not None,
            # A run of one prompt is over before they are, and the demo model knows no titles.
            jobs=options.command is None and not options.demo,
            make_journal=lambda session_id: store.create(session_id, str(folder), choice.model),
        )
        return Session(process, registry, choice, equipment, opened)

    return Sessions(store, make_session, folder)


def _run_sessions(options: argparse.Namespace) -> int:
    """What needs no model and no screen."""
    import asyncio

    from core.frontends.sessions import run_sessions
    from core.sessions import Archive

    command = sessions_command(options)
    archive = Archive(_open_store(), _current_folder())

    async def run() -> int:
        return await run_sessions(command, archive)

    return asyncio.run(run())


def _open_store() -> Store:
    from core.folders import data_folder
    from core.store import Store

    return Store(data_folder() / "caesura.db")


def _current_folder() -> Path:
    from pathlib import Path

    try:
        return Path.cwd()
    except OSError as error:
        raise UsageError("the current folder is gone: change to one that exists.") from error


def _key_names() -> frozenset[str]:
    from providers.keys import all_key_variables

    return all_key_variables()


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
        process, choice = _open_model(options, stack)
        import asyncio

        sessions = _open_sessions(process, choice, options)

        def open_logs() -> None:
            if (listener := logs.open_files()) is not None:
                stack.callback(listener.stop)

        async def run() -> int:
            # What is to be gone on with is read while the screen is imported.
            opening = asyncio.create_task(_first_session(sessions, options), name="first session")
            await asyncio.sleep(0)
            from tui import theme
            from tui.app import CaesuraApp, run_app

            first = await opening
            app = CaesuraApp(
                lambda: first,
                sessions,
                theme_name=options.theme or theme.DARK,
                after_first_frame=open_logs,
                log_name="caesura.log in the state folder",
                welcome=DEMO_WELCOME if options.demo else "",
            )
            try:
                return await run_app(app, process.kill)
            finally:
                await sessions.aclose()

        return asyncio.run(run())


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
        process, choice = _open_model(options, stack)
        if (listener := logs.open_files()) is not None:
            stack.callback(listener.stop)
        sessions = _open_sessions(process, choice, options)

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
        print(f"caesura {version('caesura')}")
    except PackageNotFoundError:
        print("caesura, not installed: it runs from its source and has no version")
    return 0
