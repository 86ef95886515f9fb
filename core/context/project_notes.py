"""What a project says to its assistants: `AGENTS.md` and `.caesura.md`, from its root down to the workspace.

They are read from the workspace upward to the folder that holds the repository; outside of a repository only
the workspace itself counts, for anybody may have written what lies above it. Before all of them comes the
person's own `AGENTS.md` in the folder of settings. Blocking, so for a thread.

A project is not to be trusted with more than being read: its file is no way to another file, so a link that
leads out of the project is refused, and neither a pipe nor a huge file holds anything up.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from core.values import dataclass

NAMES = ("AGENTS.md", ".caesura.md")

MOST_BYTES = 32_768
"""Of one file; what goes beyond it is left out, at the end of a line."""

MOST_FILES = 16

_CUT = "[There is more in the file, which is left out here.]"


@dataclass(frozen=True, slots=True)
class ProjectNote:
    """One file and what it says."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class ProjectNotes:
    """All files that were found, the outermost first, and a sentence for each that cannot be used."""

    notes: tuple[ProjectNote, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(str(note.path) for note in self.notes)


def read_project_notes(workspace: Path, personal: Path | None = None) -> ProjectNotes:
    """The notes that hold in `workspace`; `personal` is the folder of the person's own. Never raises."""
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
    """From the root of the repository down to the workspace, which alone it is without a repository."""
    workspace = Path(os.path.realpath(workspace))
    chain = [workspace, *workspace.parents]
    root = next((n for n, folder in enumerate(chain) if os.path.lexists(folder / ".git")), 0)
    return chain[root::-1]


def _read(path: Path, root: Path) -> str:
    """What the file says; nothing if there is none. Raises `OSError`, with a reason to be shown."""
    try:
        real = Path(os.path.realpath(path, strict=True))
    except FileNotFoundError:
        return ""
    if path.is_symlink() and not real.is_relative_to(os.path.realpath(root)):
        raise OSError(0, "it is a link that leads out of the project")
    # Without O_NONBLOCK a pipe would be waited for.
    fd = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(0, "it is no regular file")
        content = b""
        while len(content) <= MOST_BYTES and (more := os.read(fd, MOST_BYTES + 1 - len(content))):
            content += more
    finally:
        os.close(fd)
    text = content[:MOST_BYTES].decode("utf-8", "replace").removeprefix("\ufeff").strip()
    if len(content) > MOST_BYTES:
        whole, _, _ = text.rpartition("\n")
        text = f"{whole or text}\n{_CUT}"
    return text
