"""`keys.toml`: keys in a file that only its owner can read, used only on request.

It is not encrypted: anyone who can read this user's files, or a backup of them, can read the keys. It is
neither read nor written while others may read it. No key may appear in output: errors name the file and a
line.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tomllib
from typing import TYPE_CHECKING

from core.base.atomic_files import replace_whole
from core.base.errors import CaesuraError, what_to_do
from core.base.regular_file import NotRegularFile, open_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

MODE = 0o600
MOST_BYTES = 256_000
_HEAD = "# Keys of model providers, kept here because you asked for it. They are not encrypted.\n"
_LINE = re.compile(r"line (\d+)")


class KeyFileError(CaesuraError):
    """The file cannot be used; its text is a sentence with the reason and how to fix it."""


class KeyFile:
    """`path` is that of the user's own file unless another is given. All methods block."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    @property
    def path(self) -> Path:
        if self._path is None:
            import platformdirs

            self._path = platformdirs.user_config_path("caesura", appauthor=False) / "keys.toml"
        return self._path

    def read(self) -> Mapping[str, str]:
        """All keys by name; none if there is no file. Raises `KeyFileError`."""
        try:
            file = open_regular(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except NotRegularFile:
            raise KeyFileError(f"{self.path} is no file: remove it.") from None
        except OSError as error:
            raise KeyFileError(
                f"{self.path} cannot be read ({error.strerror}): see to it that you may, or remove it."
            ) from None
        with file:
            self._check(os.fstat(file.fileno()))
            try:
                text = file.read(MOST_BYTES).decode()
            except (OSError, UnicodeDecodeError):
                raise KeyFileError(f"{self.path} cannot be read: it is no text. Remove it.") from None
        return self._parse(text)

    def store(self, name: str, value: str) -> None:
        """Store a key; the file is created if it does not exist. Raises `KeyFileError`."""
        with self._changing():
            self._write({**self.read(), name: value})

    def remove(self, names: Iterable[str]) -> bool:
        """Remove keys, and the file with its last key. Returns whether it held any. Raises `KeyFileError`."""
        gone = set(names)
        if not self.read().keys() & gone:
            return False
        with self._changing():
            self._write({name: value for name, value in self.read().items() if name not in gone})
        return True

    def _check(self, status: os.stat_result) -> None:
        if status.st_uid != os.geteuid():
            raise KeyFileError(f"{self.path} belongs to somebody else and is not used: remove it.")
        if status.st_mode & 0o077:
            raise KeyFileError(
                f"{self.path} is not used because others may read it: `chmod 600 {self.path}`, and replace "
                "its keys with new ones if anybody could have looked."
            )

    def _parse(self, text: str) -> Mapping[str, str]:
        try:
            found = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            # The error's text may quote the line.
            line = _LINE.search(str(error))
            where = f"line {line[1]}" if line else "its end"
            raise KeyFileError(
                f'{self.path} is not understood, see {where}: each line is NAME = "key".'
            ) from None
        for name, value in found.items():
            if not isinstance(value, str):
                raise KeyFileError(f"{self.path} is not understood: {name} is no text in quotes.")
        return {name: value.strip() for name, value in found.items()}

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Let only one program change it at a time."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise KeyFileError(
                f"{self.path.parent} cannot be used ({error.strerror}). {what_to_do(error)}"
            ) from None
        try:
            # Some network disks do not support locks.
            with contextlib.suppress(OSError):
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _write(self, keys: Mapping[str, str]) -> None:
        import tomli_w

        target = self.path.resolve()
        try:
            if keys:
                replace_whole(target, (_HEAD + tomli_w.dumps(keys)).encode(), lambda: None, mode=MODE)
            else:
                target.unlink(missing_ok=True)
        except OSError as error:
            raise KeyFileError(
                f"{self.path} was not changed ({error.strerror}). {what_to_do(error)}"
            ) from None
