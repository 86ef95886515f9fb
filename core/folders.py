"""Where what is kept for the person lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def data_folder() -> Path:
    """The user's folder for sessions and memory. It need not exist."""
    import platformdirs

    return platformdirs.user_data_path("caesura", appauthor=False)
