"""The folders for data and settings, and the files of settings: the person's own and a project's."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT_FILE = ".caesura.toml"
TRUSTED = "trusted.toml"
"""The file beside `config.toml` that lists trusted folders. See `core.config.trust`."""


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
    """The nearest `.caesura.toml` from the workspace up to the root of its repository; None if there is none.

    Outside a repository only the workspace itself is searched, and never a folder above the user's home
    folder.
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
