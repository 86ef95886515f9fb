"""What the driver gives to the thread that writes. The rest is seen in a real terminal: `tests.e2e`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from textual._ansi_sequences import SYNC_END, SYNC_START

from tui.terminal.driver import CaesuraDriver


def driver_to(written: list[str]) -> Any:
    """A driver of no terminal, which has what `write` needs."""
    driver: Any = object.__new__(CaesuraDriver)
    driver._terminal = SimpleNamespace(taken=True)
    driver._writer_thread = SimpleNamespace(write=written.append)
    driver._frame = []
    return driver


def test_a_frame_is_one_write_and_all_else_waits_for_nothing() -> None:
    written: list[str] = []
    driver = driver_to(written)
    for data in ("title", SYNC_START, "row", SYNC_END, "bell"):
        driver.write(data)
    assert written == ["title", f"{SYNC_START}row{SYNC_END}", "bell"]


def test_nothing_is_left_of_a_frame_in_which_the_terminal_was_given_back() -> None:
    written: list[str] = []
    driver = driver_to(written)
    driver.write(SYNC_START)
    driver._terminal.taken = False
    driver.write("row")
    driver.write(SYNC_END)
    driver._terminal.taken = True
    driver.write("title")
    assert written == ["title"]
