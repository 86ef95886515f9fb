"""Only regular files are opened, and nothing else is waited for or changed."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from core.base.regular_file import FileTooLarge, NotRegularFile, open_regular, read_regular


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_regular(path, 5) == b"12345"
    assert read_regular(os.fspath(path), 5, follow=False) == b"12345"
    with pytest.raises(FileTooLarge) as caught:
        read_regular(path, 4)
    assert caught.value.errno == errno.EFBIG
    os.truncate(path, 1 << 40)  # a hole: it takes no space, and is not read
    with pytest.raises(FileTooLarge):
        read_regular(path, 4)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    fifo, socket_path = tmp_path / "fifo", tmp_path / "socket"
    os.mkfifo(fifo)
    listener = socket.socket(socket.AF_UNIX)
    with listener:
        listener.bind(os.fspath(socket_path))
        kinds = {fifo: stat.S_IFIFO, socket_path: stat.S_IFSOCK, tmp_path: stat.S_IFDIR}
        for path, kind in {**kinds, "/dev/zero": stat.S_IFCHR, "/dev/tty": stat.S_IFCHR}.items():
            with pytest.raises(NotRegularFile) as caught:
                open_regular(path)
            assert (caught.value.kind, caught.value.is_link) == (kind, False)
            assert caught.value.filename == os.fspath(path)


def test_a_link_is_followed_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    link = tmp_path / "link"
    link.symlink_to("file")
    assert read_regular(link, 1) == b"x"
    with pytest.raises(NotRegularFile) as caught:
        read_regular(link, 1, follow=False)
    assert caught.value.is_link
    (tmp_path / "file").unlink()
    with pytest.raises(FileNotFoundError):
        read_regular(link, 1)
    with pytest.raises(NotRegularFile):
        read_regular(link, 1, follow=False)


@pytest.mark.parametrize("follow", [True, False])
def test_what_is_put_in_its_place_in_between_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, follow: bool
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    before = _open_files()
    real_open = os.open

    def swap(name: str, flags: int) -> int:
        path.unlink()
        os.mkfifo(path)
        return real_open(name, flags)

    monkeypatch.setattr(os, "open", swap)
    with pytest.raises(NotRegularFile) as caught:
        open_regular(path, follow=follow)
    monkeypatch.undo()
    assert caught.value.kind == stat.S_IFIFO
    assert _open_files() == before


def _open_files() -> int:
    fds = Path("/proc/self/fd")
    return len(list(fds.iterdir())) if fds.is_dir() else 0
