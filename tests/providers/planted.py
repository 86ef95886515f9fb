"""What tests have the model process run before its own code: odd names, and a look inside.

`wait-<ms>.<any>.test` takes so long to look up and is not found; `hold.<any>.test` takes until there is a
file CAESURA_CHILD_RELEASE. With CAESURA_CHILD_ASKED no name but that of this machine is found, and each one
that is looked up is added to that file.

`block.test` blocks the whole interpreter in a C call that keeps the lock, as a broken resolver or extension
does, after it has made the file CAESURA_CHILD_BLOCKED. On SIGUSR1 the process writes what is alive in it into
CAESURA_CHILD_REPORT, with its number at the end; on SIGUSR2 it writes there how many texts it still holds
that contain CAESURA_CHILD_MARK twice in a row: once it is in the environment.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import signal
import socket
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

BLOCKED_S = 600

_getaddrinfo = socket.getaddrinfo


def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name == "block.test":
        Path(os.environ["CAESURA_CHILD_BLOCKED"]).touch()
        ctypes.PyDLL(None).sleep(BLOCKED_S)
    if name.startswith("hold.") and name.endswith(".test"):
        release = Path(os.environ["CAESURA_CHILD_RELEASE"])
        while not release.exists():
            time.sleep(0.005)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    if name.startswith("wait-") and name.endswith(".test"):
        time.sleep(int(name.partition(".")[0].removeprefix("wait-")) / 1000)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    asked = os.environ.get("CAESURA_CHILD_ASKED")
    if asked is not None and name not in ("127.0.0.1", "localhost"):
        with Path(asked).open("a") as names:
            names.write(name + "\n")
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return _getaddrinfo(host, *args, **kwargs)


def report(*_: object) -> None:
    """Runs between two steps of the main thread, which is the event loop's."""
    gc.collect()
    tasks = [task.get_name() + " " + repr(task.get_coro()) for task in asyncio.all_tasks()]
    threads = [thread.name for thread in threading.enumerate()]
    modules = sorted({name.partition(".")[0] for name in sys.modules})
    variables = [f"{name}={value}" for name, value in os.environ.items()]
    answer({"tasks": tasks, "threads": threads, "modules": modules, "variables": variables})


def report_texts(*_: object) -> None:
    """Like `report`. Looks at what the worker has frozen as well, and freezes all of it again."""
    mark = 2 * os.environ["CAESURA_CHILD_MARK"]
    gc.unfreeze()
    gc.collect()
    held: set[int] = set()
    for tracked in gc.get_objects():
        _find_texts(tracked, mark, held)
    gc.freeze()
    answer({"texts": [str(number) for number in held]})


def _find_texts(holder: object, mark: str, held: set[int]) -> None:
    """Add the ids of texts in `holder`, and in the containers in it that the collector does not track."""
    for item in gc.get_referents(holder):
        if isinstance(item, str):
            if mark in item:
                held.add(id(item))
        elif isinstance(item, bytes | bytearray):
            if mark.encode() in item:
                held.add(id(item))
        elif not gc.is_tracked(item) and isinstance(item, dict | tuple):
            _find_texts(item, mark, held)


def answer(report: dict[str, list[str]]) -> None:
    path = Path(f"{os.environ['CAESURA_CHILD_REPORT']}.{os.getpid()}")
    draft = Path(f"{path}.draft")
    draft.write_text(json.dumps(report))
    draft.rename(path)


socket.getaddrinfo = getaddrinfo
if "CAESURA_CHILD_REPORT" in os.environ:
    warnings.simplefilter("default", ResourceWarning)
    signal.signal(signal.SIGUSR1, report)
    signal.signal(signal.SIGUSR2, report_texts)
