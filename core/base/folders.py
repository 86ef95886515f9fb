"""Where what is kept for the person lives, and where the settings do: the person's own and a project's."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT_FILE = ".caesura.toml"
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


def find_project_file(workspace: Path) -> Path | None:
    """The nearest `.caesura.toml` from the workspace up to the root of its repository, if there is one.

    Outside a repository only the workspace itself is looked at, and nothing above the person's home.
    """
    workspace = Path(os.path.realpath(workspace))
    home = Path(os.path.realpath(os.path.expanduser("~")))  # noqa: PTH111 - `Path.home` may raise
    candidates: list[Path] = []
    for folder in (workspace, *workspace.parents):
        candidates.append(folder)
        if os.path.lexists(folder / ".git"):
            break
        if folder == home:
            candidates = [workspace]
            break
    else:
        candidates = [workspace]
    return next(
        (folder / PROJECT_FILE for folder in candidates if os.path.lexists(folder / PROJECT_FILE)), None
    )
