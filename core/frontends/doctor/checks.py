"""The doctor's checks besides the terminal: folders, keys, models, processes, and how fast a stop is.

They get what they need from other packages as values or functions. Of a key they only see whether there is
one.
"""

from __future__ import annotations

import math
import os
import platform
import shutil
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.base.regular_file import open_regular
from core.base.values import Value
from core.frontends.doctor.report import WITHIN_S, Check, Finding, State, blocking, blocking_check, check
from core.frontends.doctor.stop_times import StopTimes, percentile
from core.model.provider import ModelInfo
from core.process.containment import Containment, namespace_prefix
from core.process.process_table import look_up

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from core.frontends.doctor.loop_lag import LoopLag

LATE_S: Final = 0.05
"""A person notices a loop that is later than this once in a hundred times, in seconds."""

SLOW_STOP_S: Final = 0.5
"""The model process is killed after 0.25 s, so a slower stop is a problem."""

LITTLE_DISK: Final = 1_000_000_000
TOO_LITTLE_DISK: Final = 50_000_000
MODEL_WITHIN_S: Final = 15.0
MEASURE_WITHIN_S: Final = 60.0

_SQLITE_HEAD: Final = b"SQLite format 3\0"


@blocking_check("Commands")
def containment_check(wanted: Containment | None = None) -> Finding:
    """What holds commands together: by the settings, or the best of this machine."""
    prefix = None if wanted is Containment.GROUP else namespace_prefix()
    if prefix is not None:
        program = Path(prefix[0]).name
        words = (
            f"each command has a PID namespace of its own (by {program}): whatever it starts ends with it. "
            f"It does not see your other processes{', and sudo does not work' * (program == 'bwrap')}"
        )
        return Finding("Commands", State.GOOD, words)
    words = (
        "commands have a session of their own and a keeper: all they start ends with them, but for what may "
        "not be killed, such as sudo's children, which is named"
    )
    if wanted is Containment.GROUP:
        return Finding("Commands", State.GOOD, f"{words}. The settings want it so")
    on_linux = sys.platform == "linux"
    advice = "Install bubblewrap (bwrap), and nothing can outlive its command." if on_linux else ""
    return Finding("Commands", State.WARNING, words, advice)


@blocking_check("Versions")
def versions_check(*packages: str) -> Finding:
    """The versions of Python, the system and `packages`, which are not imported."""
    return Finding("Versions", State.GOOD, ", ".join(_versions(packages)))


def _versions(packages: Iterable[str]) -> Iterator[str]:
    import sqlite3

    for package in ("caesura", *packages):
        try:
            yield f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            yield f"{package} is not installed as a package"
    yield f"Python {platform.python_version()}"
    yield f"SQLite {sqlite3.sqlite_version}"
    # Not `platform.platform`, which asks for more than the name of the system.
    system = os.uname()
    yield f"{system.sysname} {system.release} {system.machine}"


@blocking_check("Disk")
def disk_check(folder: Path) -> Finding:
    free = shutil.disk_usage(_existing(folder)).free
    words = f"{size(free)} free where sessions are kept"
    if free >= LITTLE_DISK:
        return Finding("Disk", State.GOOD, words)
    state = State.BAD if free < TOO_LITTLE_DISK else State.WARNING
    return Finding("Disk", state, words, "Make room: what cannot be written is lost when the program ends.")


def folder_check(title: str, folder: Callable[[], Path]) -> Check:
    """Check whether files can be made in a folder, or the folder itself if it does not exist."""
    return blocking(title, lambda: _folder(title, folder))


def _folder(title: str, wanted: Callable[[], Path]) -> Finding:
    try:
        folder = wanted()
        existing = _existing(folder)
        if existing == folder:
            with tempfile.TemporaryFile(dir=folder):
                pass
            return Finding(title, State.GOOD, f"{folder} can be written")
    except OSError as error:
        words = f"{error.filename or 'the folder'} cannot be written ({error.strerror})"
        return Finding(title, State.BAD, words, "Give yourself the right to write there, or make room.")
    if os.access(existing, os.W_OK | os.X_OK):
        return Finding(title, State.GOOD, f"{folder} is not there yet and can be made")
    return Finding(title, State.BAD, f"{folder} is not there, and {existing} cannot be written")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next((path for path in (folder, *folder.parents) if path.is_dir()), Path("/"))


@blocking_check("Session file")
def session_file_check(path: Path) -> Finding:
    try:
        with open_regular(path) as file:
            head = file.read(len(_SQLITE_HEAD))
        total = sum(
            one.stat().st_size for one in (path, Path(f"{path}-wal"), Path(f"{path}-shm")) if one.exists()
        )
    except FileNotFoundError:
        return Finding("Session file", State.GOOD, "none yet: nothing was kept")
    except OSError as error:
        return Finding("Session file", State.BAD, f"{path} cannot be read ({error.strerror})")
    if head != _SQLITE_HEAD:
        advice = "It is set aside, never overwritten, when a session is opened; nothing of it is shown."
        return Finding("Session file", State.BAD, f"{path} is no file of sessions", advice)
    return Finding("Session file", State.GOOD, f"{path}, {size(total)}")


@blocking_check("Configuration")
def configuration_check(path: Path, notices: Sequence[str], *, project: Path | None = None) -> Finding:
    """`notices` are the errors and warnings that reading the settings gave; `path` is the person's file,
    `project` that of the project, if anything of it counts."""
    if notices:
        advice = "`caesura config edit` opens the file; what is wrong in it is left out."
        return Finding("Configuration", State.WARNING, " ".join(notices), advice)
    used = [str(file) for file in (path if path.exists() else None, project) if file is not None]
    words = f"{' and '.join(used)}: in order" if used else "no file: the defaults hold"
    return Finding("Configuration", State.GOOD, words)


class KeysKept(Value):
    """Names of keys with the name of the place where each is stored, and problems."""

    found: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()


@blocking_check("Keyring", within_s=WITHIN_S + 1)
def keyring_check(look: Callable[[], KeysKept]) -> Finding:
    """The keyring and the key file. `look` blocks; it bounds the keyring itself and explains a time-out."""
    kept = look()
    told = [f"holds {name} ({place})" for name, place in kept.found] or ["holds no key of Caesura's"]
    if kept.problems:
        advice = "Keys in the environment work without it; `caesura keys set` tells what else there is."
        others = [f"Kept all the same: {name} ({place})." for name, place in kept.found]
        return Finding("Keyring", State.WARNING, " ".join((*kept.problems, *others)), advice)
    return Finding("Keyring", State.GOOD, f"it answers and {', '.join(told)}")


@blocking_check("Keys")
def keys_check(names: Collection[str], environment: Mapping[str, str]) -> Finding:
    """Which of the variables `names` that may hold keys are set."""
    if found := sorted(name for name in names if environment.get(name, "").strip()):
        return Finding("Keys", State.GOOD, f"in the environment: {', '.join(found)}")
    advice = "`caesura keys set` stores one in the keyring; `caesura --demo` needs none."
    return Finding("Keys", State.UNKNOWN, "none in the environment", advice)


@check("Model", within_s=MODEL_WITHIN_S)
async def model_check(model: str, describe: Callable[[str], Awaitable[ModelInfo]]) -> Finding:
    """Whether the catalogue has the model; "" if none is chosen. May wait for the model process."""
    if not model:
        advice = "Name one with --model or in the settings, or try `caesura --demo`, which needs none."
        return Finding("Model", State.WARNING, "none is chosen", advice)
    info = await describe(model)
    if info == ModelInfo(info.model):
        words = f"{model} is in no catalogue: it is asked all the same, without known limits and prices"
        return Finding("Model", State.UNKNOWN, words)
    window = "" if info.context_window is None else f", window {info.context_window:,} tokens"
    members = f", {len(info.members)} members" if info.members else ""
    return Finding("Model", State.GOOD, f"{model} is known{window}{members}")


@blocking_check("Model process")
def model_process_check(
    pid: Callable[[], int | None], restarts: Callable[[], int], rests: Callable[[], bool]
) -> Finding:
    """Whether the model process is alive. It `rests` when it was ended because nobody needed it."""
    if rests():
        return Finding("Model process", State.GOOD, "ended, as nobody needed it: typing starts it")
    number, count = pid(), restarts()
    again = f", started anew {count} times" if count > 1 else ", started anew once" if count else ""
    found = None if number is None else look_up(number)
    if found is None or not found.alive:
        advice = "It is started with the next prompt; if that fails, worker.log in the log folder says why."
        return Finding("Model process", State.WARNING, f"it does not run{again}", advice)
    return Finding("Model process", State.GOOD, f"process {number} runs{_since(found.started)}{again}")


def _since(started: int) -> str:
    """How long a process has run, from its start in clock ticks since boot; "" if that is not known."""
    try:
        up = float(Path("/proc/uptime").read_text().split()[0])
        seconds = max(0.0, up - started / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return ""
    at = time.strftime("%H:%M:%S", time.localtime(time.time() - seconds))
    return f" since {at} ({seconds:.0f} s)"


@check("Event loop")
async def lag_check(lag: LoopLag) -> Finding:
    seen = lag.lag
    if seen is None:
        return Finding("Event loop", State.UNKNOWN, "not measured yet")
    words = (
        f"late by {_ms(seen.median)} (p50), {_ms(seen.p99)} (p99), {_ms(seen.highest)} (max) in "
        f"{seen.count} samples"
    )
    if seen.p99 <= LATE_S:
        return Finding("Event loop", State.GOOD, words)
    advice = "Something keeps the loop, or the machine is busy: the screen waits for it, Esc does not."
    return Finding("Event loop", State.WARNING, words, advice)


@check("Stops")
async def stops_check(times: Callable[[], StopTimes]) -> Finding:
    """How long the stops of this session took."""
    now = times()
    if not (now.all or now.unconfirmed or now.unseen):
        return Finding("Stops", State.UNKNOWN, "no stop yet")
    count = len(now.all)
    words = "1 stop confirmed" if count == 1 else f"{count} stops confirmed"
    if now.streams:
        words += f"; replies {_spread(now.streams)}"
    if now.others:
        words += f"; calls and others {_spread(now.others)}"
    if now.unseen:
        words += f"; never confirmed: {', '.join(now.unseen)}"
    if now.unconfirmed:
        words += f"; not ended yet: {', '.join(now.unconfirmed)}"
        advice = "/running lists what has not ended; stop it again to force it."
        return Finding("Stops", State.BAD, words, advice)
    if now.unseen:
        advice = "What they did was asked to stop elsewhere, and may have gone on there."
        return Finding("Stops", State.WARNING, words, advice)
    return _confirmed(words, now.streams)


@check("Stops", within_s=MEASURE_WITHIN_S)
async def measured_stops_check(measure: Callable[[], Awaitable[Sequence[float]]]) -> Finding:
    """How long stops take. `measure` returns the seconds until each was confirmed, infinite if it was not."""
    seconds = await measure()
    if not seconds:
        return Finding("Stops", State.UNKNOWN, "nothing was measured")
    words = f"{len(seconds)} replies of the demo model stopped in mid-stream: {_spread(seconds)}"
    if missed := sum(math.isinf(one) for one in seconds):
        return Finding("Stops", State.BAD, f"{words}; {missed} unconfirmed")
    return _confirmed(words, seconds)


def _confirmed(words: str, streams: Sequence[float]) -> Finding:
    slow = bool(streams) and percentile(streams, 99) > SLOW_STOP_S
    return Finding("Stops", State.WARNING if slow else State.GOOD, f"{words}; none unconfirmed")


def _spread(seconds: Sequence[float]) -> str:
    return f"p50 {_ms(percentile(seconds, 50))}, p99 {_ms(percentile(seconds, 99))}"


def _ms(seconds: float) -> str:
    if math.isinf(seconds):
        return "never"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def size(count: int) -> str:
    """A number of bytes for people.

    >>> [size(512), size(2_048_000), size(73_000_000_000)]
    ['512 B', '2.0 MB', '73.0 GB']
    """
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
