"""`caesura doctor`: its words on the command line, and what they ask for.

The screen, the model and whatever else is large are imported by nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from core.frontends.headless import Output


def add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Let `caesura` know `doctor`."""
    text = "look at the terminal, the keys, the folders and how fast a stop is; asks no provider for anything"
    parser = commands.add_parser(
        "doctor",
        help=text,
        description=f"{text[0].upper()}{text[1:]}. The exit code is 0 if nothing is bad, else 1.",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")


def doctor_output(options: argparse.Namespace) -> Output:
    """How the arguments of `add_doctor` want it printed."""
    from core.frontends.headless import Output

    return Output.JSON if options.json else Output.TEXT
