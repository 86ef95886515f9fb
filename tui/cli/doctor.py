"""The command line of `caesura doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


ABOUT_DOCTOR = (
    "look at the terminal, the keys, the folders and how fast a stop is; asks no provider for anything"
)


def add_doctor_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command `doctor`."""
    parser.description = (
        f"{ABOUT_DOCTOR[0].upper()}{ABOUT_DOCTOR[1:]}. The exit code is 0 if nothing is bad, else 1."
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
