"""Instructions of a project: `AGENTS.md` and `.caesura.md`, from its root down to the workspace.

They are read from the workspace up to the folder that holds the repository. Outside of a repository only the
workspace counts, since anyone may have written the files above it. The user's own `AGENTS.md` in the folder
of settings comes first. Blocking: call in a thread.

A project is trusted only to be read: a link that leads out of it is refused, so that its file gives no access
to another one, and neither a pipe nor a huge file blocks the reader.
"""

from __future__ import annotations

import os
from pathlib import Path

from core.base.regular_file import open_regular
from core.base.values import Value

NAMES = ("AGENTS.md", ".caesura.md")

MOST_BYTES = 32_768
"""Maximum of one file; the rest is left out, at the end of a line."""
MOST_FILES = 16
_CUT = "[There is more in the file, which is left out here.]"


class ProjectNote(Value):
    path: Path
    text: str


class ProjectNotes(Value):
    """All files that were found, the outermost first, and a sentence for each that cannot be used."""

    notes: tuple[ProjectNote, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(str(note.path) for note in self.notes)


def read_project_notes(workspace: Path, personal: Path | None = None) -> ProjectNotes:
    """The notes that apply in `workspace`; `personal` is the folder of the user's own. Never raises."""
    notes: list[ProjectNote] = []
    refused: list[str] = []
    folders = _folders(workspace)
    places = [(personal, personal)] if personal is not None else []
    places += [(folder, folders[0]) for folder in folders]
    for folder, root in places:
        for name in NAMES if folder is not personal else NAMES[:1]:
            try:
                text = _read(folder / name, root)
            except OSError as error:
                refused.append(f"{folder / name} is not read: {error.strerror or error}.")
                continue
            if text and len(notes) < MOST_FILES:
                notes.append(ProjectNote(folder / name, text))
    return ProjectNotes(tuple(notes), tuple(refused))


def _folders(workspace: Path) -> list[Path]:
    """The folders from the root of the repository down to the workspace; without one only the workspace."""
    workspace = Path(os.path.realpath(workspace))
    chain = [workspace, *workspace.parents]
    root = next((n for n, folder in enumerate(chain) if os.path.lexists(folder / ".git")), 0)
    return chain[root::-1]


def _read(path: Path, root: Path) -> str:
    """The file's text; empty if there is none. Raises `OSError` with a reason to show."""
    try:
        real = Path(os.path.realpath(path, strict=True))
    except FileNotFoundError:
        return ""
    if path.is_symlink() and not real.is_relative_to(os.path.realpath(root)):
        raise OSError(0, "it is a link that leads out of the project")
    with open_regular(real, follow=False) as file:
        content = file.read(MOST_BYTES + 1)
    text = content[:MOST_BYTES].decode("utf-8", "replace").removeprefix("\ufeff").strip()
    if len(content) > MOST_BYTES:
        whole, _, _ = text.rpartition("\n")
        text = f"{whole or text}\n{_CUT}"
    return text
