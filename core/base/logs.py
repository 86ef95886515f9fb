"""The logs: rotating files in the user's state folder, never the screen.

Records are collected in memory first, because opening files would delay the first frame; `open_files` then
writes them to the files. A thread of its own writes, so that a slow disk does not delay the event loop.
Message text and keys are never logged.
"""

from __future__ import annotations

import logging
import os
import queue
from copy import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logging.handlers import QueueListener
    from pathlib import Path

MOST_BYTES = 1_000_000
OLD_FILES = 2

_records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()


class _Collector(logging.Handler):
    """Puts records into the queue without writing them."""

    def emit(self, record: logging.LogRecord) -> None:
        # Formatted now: arguments may change later, and a traceback keeps its frames alive. A copy, for there
        # may be other handlers.
        record = copy(record)
        record.message = record.getMessage()
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.msg, record.args, record.exc_info = record.message, None, None
        _records.put(record)


def collect() -> None:
    """Collect the records of this process from now on, and print none of them."""
    root = logging.getLogger()
    root.handlers[:] = [_Collector()]
    root.setLevel(logging.INFO)
    # It would tell the address of each request, which may have a password in it.
    logging.getLogger("httpx").setLevel(logging.WARNING)


def state_folder() -> Path:
    """The folder for logs; made if missing. Raises `OSError` when it cannot be made."""
    import platformdirs

    return platformdirs.user_state_path("caesura", appauthor=False, ensure_exists=True)


def open_files() -> QueueListener | None:
    """Write the collected and all later records to `caesura.log` and, for stops, `stops.log`.

    Returns the listener, which the caller stops at the end. Returns None if no file can be written: then the
    records are dropped and the program goes on.
    """
    from logging.handlers import QueueListener, RotatingFileHandler

    logging.raiseExceptions = False
    try:
        folder = state_folder()
        handlers: list[logging.Handler] = []
        for name, wanted in (("caesura.log", None), ("stops.log", "caesura.stops")):
            handler = RotatingFileHandler(
                folder / name, maxBytes=MOST_BYTES, backupCount=OLD_FILES, encoding="utf-8", delay=True
            )
            handler.setFormatter(
                logging.Formatter("%(asctime)s %(process)d %(name)s %(levelname)s %(message)s")
            )
            if wanted is not None:
                handler.addFilter(logging.Filter(wanted))
            handlers.append(handler)
        os.chmod(folder, 0o700)  # noqa: PTH101 - Path.chmod is the same call
    except OSError:
        logging.getLogger().handlers[:] = [logging.NullHandler()]
        return None
    listener = QueueListener(_records, *handlers)
    listener.start()
    return listener
