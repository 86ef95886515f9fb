"""Whether the transcript follows the end of its document, and how many rows came while it did not."""

from __future__ import annotations


class FollowedEnd:
    """State of one transcript. Heights are those of its document, in rows."""

    def __init__(self) -> None:
        self.following = True
        self.new_rows = 0
        """Rows that came below since the user left the end, as of the last `count`."""
        self._left_at = 0

    def leave(self, height: int) -> None:
        """Stop following; what comes below `height` is new."""
        self.following = False
        self._left_at = height

    def shift(self, rows: int) -> None:
        """The document has become higher by `rows` that are not new."""
        self._left_at += rows

    def keep_count(self, height: int) -> None:
        """The document has the new height `height`, and as many new rows as before."""
        self._left_at = height - self.new_rows

    def count(self, height: int) -> None:
        self.new_rows = 0 if self.following else max(0, height - self._left_at)

    def label(self, width: int) -> str:
        """The label with the number of new rows; empty without any, and if it does not fit."""
        label = f" ↓ {self.new_rows} new "
        return label if self.new_rows and len(label) < width else ""
