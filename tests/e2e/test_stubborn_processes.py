"""Stubborn process trees, stopped by a person: each in every way, in every containment.

One program for each containment gets all ways one after the other, many trees at a time. Each way meets a
third of the trees there and the other two thirds in the other containments, which saves minutes.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from core.process.containment import prefix_by
from tests.e2e.tools import Panel, call, calls, last_results, shell, write_config
from tests.servers.base import ThreadedServer
from tests.servers.openai import OpenAIServer
from tests.servers.script import Script
from tests.support.live_processes import descendants, model_processes
from tests.support.program import Caesura, running, talk_to
from tests.support.stubborn_processes import MARK, PAUSE, READY, STUBBORN_TREES, StubbornTree, living
from tests.support.waiting import wait_until
from tui.lists.running.running_panel import DEADLINE_STEP_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tests.servers.record import Request

DONE: Final = "That was all."
DEADLINE_S: Final = 600
"""Long enough to be over only when the keys take it away."""


LOOK_S: Final = 0.05
"""Seconds between two looks at the process table, which take processor time from the trees."""


class Hold(IntEnum):
    """What holds the processes of a command together."""

    BWRAP = 0
    UNSHARE = 1
    GROUP = 2

    @property
    def possible(self) -> bool:
        match self:
            case Hold.BWRAP:
                return prefix_by("bwrap") is not None
            case Hold.UNSHARE:
                return prefix_by("unshare") is not None
            case Hold.GROUP:
                return True


@dataclass(frozen=True, slots=True)
class OwnedTree:
    """A stubborn tree, the words by which it is found on the screen, and the mark in its environment."""

    name: str
    tree: StubbornTree
    mark: str

    @property
    def command(self) -> str:
        return f": {self.name}; {MARK}={self.mark} {PAUSE}=0.05 {shlex.join(self.tree.argv)}"

    @property
    def words(self) -> str:
        return f": {self.name};"

    @property
    def alive(self) -> bool:
        return bool(living(self.mark))

    @property
    def up(self) -> bool:
        return len(living(self.mark)) >= self.tree.processes


class Owner:
    """A program, its model, and all trees that the model may ask it for."""

    def __init__(self, app: Caesura, server: OpenAIServer, hold: Hold, trees: list[OwnedTree]) -> None:
        self.app = app
        self.server = server
        self.hold = hold
        self.trees = trees
        self.panel = Panel(app)
        wait_until(lambda: descendants(app.terminal.pid), what="there are model processes")
        self._seen: set[tuple[int, str]] = set()

    def third(self, number: int) -> list[OwnedTree]:
        """Those whose turn it is here; for another `number`, or another hold, they are others."""
        return [each for at, each in enumerate(self.trees) if (at + number + self.hold) % 3 == 0]

    # Bringing them up

    def keep(self, trees: Sequence[OwnedTree]) -> None:
        """Have the model start these in the background, and look at their output until all are ready."""
        self.app.send(self.server, "keep them", _keeper(trees))
        self.app.wait_block(DONE)
        self._wait_up(trees)

    def keep_in_agents(self, trees: Sequence[OwnedTree]) -> None:
        """Have each started by a sub-agent of its own, which waits for it."""
        self.app.send(self.server, "have them kept", _agents(trees))
        self._wait_up(trees)

    def _wait_up(self, trees: Sequence[OwnedTree]) -> None:
        for each in trees:
            wait_until(lambda each=each: each.up, what=f"{each.tree.name} is up", step=LOOK_S)  # type: ignore[misc]
        # Stream processes come and go with the sub-agents.
        pids = set(descendants(self.app.terminal.pid)) - set(model_processes(self.app.terminal.pid))
        for each in trees:
            pids |= living(each.mark).keys()
        self._seen = {(pid, started) for pid in pids if (started := _started(pid))}
        for each in trees:
            # A process that ends while it is looked at seems to be held by nothing.
            wait_until(
                lambda each=each: self._holders(_eldest(living(each.mark))) == {_NAMES[self.hold]},  # type: ignore[misc]
                what=f"{each.tree.name} is held by {self.hold.name}",
                step=LOOK_S,
            )

    def _holders(self, pid: int) -> set[str]:
        """Which of the programs that make namespaces are between a process and ours; or an empty name."""
        found = set()
        while pid not in (self.app.terminal.pid, 1):
            try:
                stat = Path(f"/proc/{pid}/stat").read_text()
            except OSError:
                break
            name, _, rest = stat.partition("(")[2].rpartition(")")
            found |= {name} & {"bwrap", "unshare"}
            pid = int(rest.split()[1])
        return found or {""}

    # And seeing them gone

    def wait_gone(self, trees: Sequence[OwnedTree]) -> None:
        for each in trees:
            wait_until(lambda each=each: not each.alive, what=f"the end of {each.tree.name}", step=LOOK_S)  # type: ignore[misc]

    def wait_empty(self) -> None:
        """Nothing of it all is left, no keeper and no zombie."""
        wait_until(
            lambda: not any(_started(pid) == started for pid, started in self._seen),
            what=f"nothing is left of {self._seen}",
        )
        assert all(not each.alive for each in self.trees)


_NAMES: Final = {Hold.BWRAP: "bwrap", Hold.UNSHARE: "unshare", Hold.GROUP: ""}


def _eldest(pids: Iterable[int]) -> int:
    """Not the one with the least number: numbers begin anew, and children come and go meanwhile."""
    return min((pid for pid in pids if _started(pid)), key=lambda pid: int(_started(pid) or "0"))


def _started(pid: int) -> str:
    """When a process began, which tells it from a later one with its number; also of a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _keeper(trees: Sequence[OwnedTree]) -> Callable[[Request], Script]:
    """A model that starts them in the background, and asks for their output until each has said READY."""
    waiting: list[str] = []

    def choose(request: Request) -> Script:
        told = [result.text for result in last_results(request)]
        if not told:
            return calls(*(shell(each.command, background=True) for each in trees))
        if told[0].startswith("Started"):
            waiting.extend(text.rstrip(".").rpartition(" ")[2] for text in told)
        else:
            waiting[:] = [each for each, text in zip(waiting, told, strict=True) if READY not in text]
        return calls(*(call("background_output", id=each) for each in waiting)) if waiting else _SAID

    return choose


_SAID: Final = Script(text=(DONE,))


def _agents(trees: Sequence[OwnedTree]) -> Callable[[Request], Script]:
    """A model that has a sub-agent for each of them, which is this model as well."""

    def choose(request: Request) -> Script:
        if last_results(request):
            return _SAID
        asked = re.fullmatch(r"keep (\d+)", request.conversation.messages[-1].text)
        if asked is None:
            return calls(*(call("agent", task=f"keep {each.name}") for each in trees))
        (one,) = (each for each in trees if each.name == asked[1])
        return calls(shell(one.command, deadline=DEADLINE_S))

    return choose


@contextmanager
def owning(hold: Hold, home: Path) -> Iterator[Owner]:
    """A program whose commands are held in this way, in folders of its own below `home`."""
    trees = [OwnedTree(str(number), tree, uuid.uuid4().hex) for number, tree in enumerate(STUBBORN_TREES)]
    write_config(
        home,
        containment="group" if hold is Hold.GROUP else "namespace",
        allow=[each.command for each in trees],
    )
    (home / "work").mkdir()
    env = {"PATH": _without_bwrap(home / "bin")} if hold is Hold.UNSHARE else {}
    with (
        ThreadedServer(OpenAIServer()) as server,
        running(home, *talk_to(server), env=env, columns=150, lines=80, cwd=home / "work") as app,
    ):
        yield Owner(app, server, hold, trees)


def _without_bwrap(folder: Path) -> str:
    """A folder with all programs of the PATH but one."""
    folder.mkdir()
    for place in reversed(os.environ["PATH"].split(os.pathsep)):
        for program in Path(place).glob("*"):
            if program.name != "bwrap":
                (folder / program.name).unlink(missing_ok=True)
                (folder / program.name).symlink_to(program)
    return str(folder)


HOLDS: Final = pytest.mark.parametrize("owner", list(Hold), ids=lambda hold: hold.name.lower(), indirect=True)


@pytest.fixture(scope="module")
def owners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Hold, Owner]]:
    """Started together: most of the time goes into their model processes."""
    with ExitStack() as stack:
        yield {
            hold: stack.enter_context(owning(hold, tmp_path_factory.mktemp(hold.name)))
            for hold in Hold
            if hold.possible
        }


@pytest.fixture
def owner(request: pytest.FixtureRequest, owners: dict[Hold, Owner]) -> Owner:
    hold = Hold(request.param)
    if hold not in owners:
        pytest.skip(f"{hold.name.lower()} makes no namespaces here")
    return owners[hold]


@pytest.mark.promise("X1", "S2", "S11")
@HOLDS
def test_each_is_stopped_by_its_button_its_key_or_its_number(owner: Owner) -> None:
    clicked, keyed, numbered = (owner.third(number) for number in range(3))
    # Who dawdles stands first of its kind, where its number stays the same.
    numbered.sort(key=lambda each: not each.tree.dawdles)
    order = [*clicked, *keyed, *numbered]
    owner.keep(order)
    app, panel = owner.app, owner.panel

    first = len(order) - len(numbered) + 1
    for number in range(len(order), first - 1, -1):
        app.terminal.type(f"/stop {number}\n")
    owner.wait_gone([each for each in numbered if not each.tree.dawdles])
    if numbered[0].tree.dawdles:
        app.terminal.type(f"/stop {first}\n")
    owner.wait_gone(numbered)

    panel.open()
    for left, each in enumerate(reversed(keyed)):
        panel.wait(lambda rows, left=left: len(rows) == len(clicked) + len(keyed) - left)  # type: ignore[misc]
        panel.select(each.words)
        app.terminal.press("x")
        if each.tree.dawdles:
            panel.wait_row(each.words, "[kill]")
            # A press right behind the first would be taken for the same one.
            wait_until(lambda each=each: not _press_again(app, each), what="it is killed", step=0.2)  # type: ignore[misc]
        panel.wait_without(each.words)
    owner.wait_gone(keyed)

    for each in reversed(clicked):
        panel.click(each.words)
    owner.wait_gone([each for each in clicked if not each.tree.dawdles])
    for each in clicked:
        if each.tree.dawdles:
            panel.click(each.words, "[kill]")
    owner.wait_gone(clicked)
    panel.wait(lambda rows: not rows)
    panel.close()
    owner.wait_empty()


def _press_again(app: Caesura, each: OwnedTree) -> bool:
    """Not when it is gone: then the key would meet the next row."""
    if each.alive:
        app.terminal.press("x")
        return True
    return False


@pytest.mark.promise("X1", "X5", "E1", "E6")
@HOLDS
def test_a_deadline_ends_some_and_esc_the_rest(owner: Owner) -> None:
    late, stopped = owner.third(1), owner.third(2)
    owner.keep_in_agents([*late, *stopped])
    app, panel = owner.app, owner.panel
    seen = len(owner.server.exchanges)
    panel.open()
    # A row for each sub-agent and one for its command, and no more when the replies are over.
    for left, each in enumerate(reversed(late)):
        panel.wait(lambda rows, left=left: len(rows) == 2 * (len(late) + len(stopped) - left))  # type: ignore[misc]
        panel.select(each.words)
        app.terminal.press(*["-"] * int(DEADLINE_S / DEADLINE_STEP_S))
    owner.wait_gone(late)
    owner.server.wait_for(lambda: len(owner.server.exchanges) >= seen + len(late))
    told = [result.text for one in owner.server.exchanges[seen:] for result in last_results(one.request)]
    assert ["its deadline was over" in text for text in told] == [True] * len(late)
    assert all(each.alive for each in stopped)

    panel.close()
    app.terminal.press("escape")
    owner.wait_gone([each for each in stopped if not each.tree.dawdles])
    if any(each.tree.dawdles for each in stopped):
        app.wait_status("Esc forces")
        app.terminal.press("escape")
    assert re.search(r"(\d+) processes ended, 0 alive", app.wait_stopped())
    owner.wait_empty()


@pytest.mark.promise("X1", "Q1")
@HOLDS
def test_the_end_of_the_program_ends_them(owner: Owner) -> None:
    owner.keep(owner.third(0))
    if owner.hold is Hold.UNSHARE:
        owner.app.terminal.signal(signal.SIGTERM)
        assert owner.app.terminal.wait_exit() == 128 + signal.SIGTERM
    else:
        owner.app.terminal.press("ctrl+q")
        owner.app.terminal.wait_for("again quits")
        assert all(each.alive for each in owner.third(0))
        owner.app.terminal.press("ctrl+q")
        assert owner.app.terminal.wait_exit() == 0
    # Nothing that the program claimed to end may end later than the program.
    assert all(not each.alive for each in owner.trees)
    owner.wait_empty()
    assert owner.app.terminal.unrestored() == []
    assert owner.app.terminal.processes() == []


@pytest.mark.promise("X7")
def test_a_kill_of_the_program_ends_them(tmp_path: Path) -> None:
    with ExitStack() as stack:
        owners = [stack.enter_context(owning(hold, tmp_path / hold.name)) for hold in Hold if hold.possible]
        for owner in owners:
            owner.keep(owner.third(2))
        for owner in owners:
            owner.app.terminal.signal(signal.SIGKILL)
            assert owner.app.terminal.wait_exit() == -signal.SIGKILL
        for owner in owners:
            owner.wait_gone(owner.trees)
            owner.wait_empty()
            wait_until(lambda owner=owner: owner.app.terminal.processes() == [], what="no process is left")  # type: ignore[misc]
