"""The command line of `caesura doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `doctor`."""
    text = "look at the terminal, the keys, the folders and how fast a stop is; asks no provider for anything"
    parser = commands.add_parser(
        "doctor",
        help=text,
        description=f"{text[0].upper()}{text[1:]}. The exit code is 0 if nothing is bad, else 1.",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
