"""What tests plant in the model process, through PYTHONPATH: odd names, and a look inside.

`wait-<ms>.<any>.test` takes so long to look up and is not found; `hold.<any>.test` takes until there is a
file CAESURA_CHILD_RELEASE. `block.test` blocks the whole interpreter in a C call that keeps the lock, as a
broken resolver or extension does, after it has made the file CAESURA_CHILD_BLOCKED. On SIGUSR1 the process
writes what is alive in it into CAESURA_CHILD_REPORT.
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
    return _getaddrinfo(host, *args, **kwargs)


def report(*_: object) -> None:
    """Runs between two steps of the main thread, which is the event loop's."""
    gc.collect()
    tasks = [task.get_name() + " " + repr(task.get_coro()) for task in asyncio.all_tasks()]
    path = Path(os.environ["CAESURA_CHILD_REPORT"])
    draft = path.with_suffix(".draft")
    threads = [thread.name for thread in threading.enumerate()]
    modules = sorted({name.partition(".")[0] for name in sys.modules})
    draft.write_text(json.dumps({"tasks": tasks, "threads": threads, "modules": modules}))
    draft.rename(path)


socket.getaddrinfo = getaddrinfo
if "CAESURA_CHILD_REPORT" in os.environ:
    signal.signal(signal.SIGUSR1, report)
