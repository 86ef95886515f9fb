"""Files that Caesura keeps for the person beside `config.toml`: trusted folders, and kept answers.

A file is read whole, changed under its lock and replaced at once; other Caesuras may do so at the same time.
It is never overwritten while it cannot be read. All of it blocks, and is for a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from core.config.files import locked, read_document, write_document
from core.config.validation import validated

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")


@dataclass(frozen=True)
class OwnFile(Generic[T]):
    """A file of this name, whose tables are declared by `kind`. `head` is the comment at its top."""

    name: str
    kind: type[T]
    head: str

    def read(self, path: Path) -> T:
        """What the file beside the `config.toml` at `path` says. Raises `ConfigError`."""
        return validated(self.kind, read_document(path.with_name(self.name)))

    def change(self, path: Path, change: Callable[[T], dict[str, Any] | None]) -> bool:
        """Write the tables that `change` makes of what the file says; false if it makes None.

        Raises `ConfigError`, and `UnicodeError` for text that is not UTF-8; both leave the file as it was.
        """
        import tomli_w

        with locked(path.with_name(self.name)) as target:
            document = read_document(target)
            table = change(validated(self.kind, document))
            if table is None:
                return False
            text = f"# {self.head}\n\n{tomli_w.dumps(table, multiline_strings=False)}"
            write_document(target, text.encode(), document)
        return True
