"""Where what is kept for the person lives, and where the person's own settings do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TRUSTED = "trusted.toml"
"""Beside the person's `config.toml`: the folders whose own settings count. See `core.trust`."""


def data_folder() -> Path:
    """The user's folder for sessions and memory. It need not exist."""
    import platformdirs

    return platformdirs.user_data_path("caesura", appauthor=False)


def config_folder() -> Path:
    """The user's folder of settings. It need not exist."""
    import platformdirs

    return platformdirs.user_config_path("caesura", appauthor=False)


def config_path() -> Path:
    """The person's `config.toml`. It need not exist."""
    return config_folder() / "config.toml"
