"""What a running call shows: lines, and a text that comes in pieces."""

from __future__ import annotations

from core.operations.progress import LINES_KEPT, Progress


def test_lines_and_pieces_of_a_text() -> None:
    progress = Progress()
    progress.say("one")
    for piece in ("two", " goes", " on\nthree", "\n"):
        progress.write(piece)
    progress.say("four")
    progress.write("five")
    assert progress.text() == "one\ntwo goes on\nthree\n\nfour\nfive"
    assert progress.tail(3) == "\nfour\nfive"


def test_only_the_last_lines_are_kept() -> None:
    progress = Progress()
    progress.write("\n".join(map(str, range(LINES_KEPT + 5))))
    assert progress.text().split("\n") == list(map(str, range(5, LINES_KEPT + 5)))


def test_a_long_line_without_an_end_takes_a_time_that_is_linear_in_its_length() -> None:
    progress = Progress()
    piece = "x" * 500
    # Copying the line at every piece would move some 800 GB.
    for _ in range(40_000):
        progress.write(piece)
    progress.write("end")
    assert len(progress.text()) == 40_000 * 500 + 3
    assert progress.tail(1).endswith("xend")
