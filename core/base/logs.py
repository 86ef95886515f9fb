"""Where the program's own words go: rotating files in the user's state folder, never the screen.

Logging starts at once into memory, because the folder's name and the file handlers cost more than the first
frame may; `open_files` moves what has come together into the files. Writing happens in a thread of its own:
a slow disk must not hold up the event loop. Message text and keys are never logged.
"""

from __future__ import annotations

import logging
import os
import queue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logging.handlers import QueueListener
    from pathlib import Path

MOST_BYTES = 1_000_000
OLD_FILES = 2

_records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()


class _Collector(logging.Handler):
    """Hands records over without writing them."""

    def emit(self, record: logging.LogRecord) -> None:
        # The text now, for what it refers to may change; the traceback too, for it keeps frames alive.
        record.message = record.getMessage()
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.msg, record.args, record.exc_info = record.message, None, None
        _records.put(record)


def collect() -> None:
    """Keep the records of this process from now on, off the screen."""
    root = logging.getLogger()
    root.handlers[:] = [_Collector()]
    root.setLevel(logging.INFO)


def state_folder() -> Path:
    """The folder for logs; made if it is not there. Raises `OSError` when it cannot be made."""
    import platformdirs

    return platformdirs.user_state_path("caesura", appauthor=False, ensure_exists=True)


def open_files() -> QueueListener | None:
    """Write what was collected, and all that follows, to `caesura.log` and, for stops, `stops.log`.

    Returns what is to be stopped at the end, or None where there is no place for files: then the records are
    dropped and the program goes on.
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
