"""The parser of the command line. It imports only what a line with a mistake in it needs."""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING, Any

from core.base.errors import CaesuraError
from core.base.output import OutputFailed, write_output
from tui.cli.config import add_config_actions
from tui.cli.doctor import ABOUT_DOCTOR, add_doctor_options
from tui.cli.keys import add_keys_actions
from tui.cli.sessions import add_sessions_actions

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import SupportsWrite

EXIT_CODES = """\
exit codes of `caesura run`: 0 the reply is complete, 1 it failed, 2 the command line is wrong,
130 stopped by SIGINT, 143 by SIGTERM, 129 by SIGHUP, 141 nobody reads the output any more.
"""


OUTPUT_CLOSED = 141
"""The exit code when nobody reads standard output any more."""


class _Parser(argparse.ArgumentParser):
    """Writes its help as all other output is written.

    `fill` adds the arguments when they are first needed: most starts name no command, and to set up all of
    them takes some 10 ms.
    """

    def __init__(
        self, *args: Any, fill: Callable[[argparse.ArgumentParser], object] = lambda _: None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._fill = fill

    # argparse declares overloads for what it returns.
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        fill, self._fill = self._fill, lambda _: None
        fill(self)
        return super().parse_known_args(args, namespace)

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        if sys.stdout is None or file is not sys.stdout:
            super()._print_message(message, file)
            return
        encoding: str = getattr(file, "encoding", "utf-8")
        try:
            write_output(message, encoding)
        except BrokenPipeError:
            self.exit(OUTPUT_CLOSED)
        except OutputFailed as error:
            self.exit(2, f"caesura: {error}\n")


class UsageError(CaesuraError):
    """The command line asks for something impossible."""


def parser() -> argparse.ArgumentParser:
    """The whole parser. The module of each command adds its own part."""
    made = _Parser(
        prog="caesura",
        description="A terminal assistant for which interruption always works.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--theme",
        default=None,
        metavar="NAME",
        help="the colours: a theme's name, or auto, which follows the terminal; not for `run`",
    )
    _add_common_options(made)
    commands = made.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser(
        "run",
        help="print the reply to one prompt, without a screen",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        fill=_add_run_options,
    )
    for name, text, fill in (
        ("sessions", "list, search, show, export, delete... the sessions kept", add_sessions_actions),
        ("config", "show, explain and change the settings", add_config_actions),
        ("keys", "list, store, remove and test the keys of model providers", add_keys_actions),
        ("doctor", ABOUT_DOCTOR, add_doctor_options),
    ):
        commands.add_parser(name, help=text, fill=fill)
    return made


def _add_run_options(run: argparse.ArgumentParser) -> None:
    run.add_argument("prompt", nargs="?", help="the prompt; without it, standard input is read")
    run.add_argument(
        "--json", action="store_true", help="print one JSON object at the end: outcome, text, proof"
    )
    # A missing option must not overwrite the one before `run`, as a default of None would.
    _add_common_options(run, default=argparse.SUPPRESS)


def settings_of(options: argparse.Namespace) -> dict[str, object]:
    """The options that are settings, by dotted name; None for those that are not given."""
    return {
        "model": options.model,
        "theme": options.theme,
        "effort": options.effort,
        "permissions.mode": options.mode,
        "tools.max_steps": options.max_steps,
        # Zero is allowed here only: in the settings it would make a program that does nothing.
        "tools.deadline": options.deadline if options.deadline is not None and options.deadline > 0 else None,
        "tools.max_budget": options.max_budget or None,
    }


def _add_common_options(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    off = argparse.SUPPRESS if default is not None else False
    parser.add_argument("--version", action="store_true", default=off, help="print the version and end")
    parser.add_argument("--demo", action="store_true", default=off, help="talk to the built-in demo model")
    parser.add_argument(
        "--model",
        metavar="NAME",
        default=default,
        help="a model or a route of your settings, SERVER/MODEL, or litellm's name of a model",
    )
    parser.add_argument(
        "--effort",
        metavar="EFFORT",
        choices=("none", "minimal", "low", "medium", "high"),
        default=default,
        help="how long a model that reasons may do so: none, minimal, low, medium or high",
    )
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


def check_address(api_base: str) -> None:
    """Raise `UsageError` if it is not the address of a web server."""
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
