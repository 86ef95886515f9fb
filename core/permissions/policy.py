"""Decides whether a call may run, by the mode and the rules of a session.

Deny goes before ask, ask before allow. Paths outside the workspace and dangerous commands are always asked
about, in every mode, unless a rule names them; symbolic links are resolved before anything is compared.
What a rule matches is in `core.permissions.rules`, what always asks in `core.permissions.guards`. This module
never asks. `decide` and `remember` use the file system, so they are for a thread.
"""

from __future__ import annotations

import glob
import shlex
import threading
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never
from urllib.parse import urlsplit

from msgspec.structs import replace

from core.base.errors import CaesuraError
from core.base.values import Value
from core.permissions.access import Access, AccessKind, Workspace
from core.permissions.guards import Guard, resolve
from core.permissions.rules import Rule, Subject, allows, forbids

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Decision", "Denied", "Mode", "Permissions", "Rule", "Rules", "Verdict"]


class Mode(StrEnum):
    """What happens without a question: ASK reads, EDITS also edits in the workspace, AUTO everything that is
    not dangerous. PLAN refuses whatever changes something."""

    ASK = "ask"
    EDITS = "edits"
    PLAN = "plan"
    AUTO = "auto"

    @property
    def next(self) -> Mode:
        """The next mode for Shift+Tab."""
        modes = list(Mode)
        return modes[(modes.index(self) + 1) % len(modes)]


class Denied(CaesuraError):
    """The call may not run. The message tells the model why; `words` are those of the person."""

    def __init__(self, message: str, words: str = "") -> None:
        super().__init__(message)
        self.words = words


class Verdict(StrEnum):
    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


class Decision(Value):
    """`why` is for the person who is asked, or for the model that is refused. `offered` is the rule that
    "for the session" and "always" would add; None where they are not offered."""

    verdict: Verdict
    why: str
    offered: Rule | None = None


class Rules(Value):
    """Replaced as a whole, so that a decision in a thread sees one state of them."""

    allow: tuple[Rule, ...] = ()
    ask: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()


class Permissions:
    """Modes and rules of one session. `keep` stores a rule for good: the answer "always".

    `mode` may be set from the event loop while a thread decides; a decision uses the one it began with.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        mode: Mode = Mode.ASK,
        rules: Rules = Rules(),  # noqa: B008 - cannot change
        keep: Callable[[Rule], object] = lambda _: None,
    ) -> None:
        self.workspace = workspace
        self.version = 0
        """The number of changes of mode and rules, which tells whether a decision is out of date."""
        self._mode = mode
        self._rules = rules
        self._remembering = threading.Lock()
        self._keep = keep

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        self.version += 1

    def adopt(self, rules: Rules, keep: Callable[[Rule], object]) -> None:
        """Take over the rules of the settings, which are read after the session was made.

        What was allowed for the session meanwhile stays allowed.
        """
        with self._remembering:
            self._rules = replace(rules, allow=(*self._rules.allow, *rules.allow))
            self._keep = keep
            self.version += 1

    def decide(self, tool: str, access: Access) -> Decision:
        """Resolves links, so it reads the file system: for a thread. It never raises."""
        mode, rules = self.mode, self._rules
        subject = _subject(tool, access, self.workspace)
        for rule in rules.deny:
            if forbids(rule, subject):
                return Decision(Verdict.DENY, f"The user's rule {rule} forbids this.")
        if mode is Mode.PLAN and _changes(subject):
            return Decision(
                Verdict.DENY,
                "This is plan mode: nothing may change. Describe what you would do instead of doing it.",
            )
        for rule in rules.ask:
            if forbids(rule, subject):
                # No rule that allows would come before it, so none is offered.
                return Decision(Verdict.ASK, f"the rule {rule} asks")
        if allows(rules.allow, subject):
            return Decision(Verdict.ALLOW, "a rule allows it")
        guards = subject.guards
        if not guards and _free(mode, subject):
            return Decision(Verdict.ALLOW, f"allowed in the mode {mode}")
        offered = _offered(subject, guards)
        if offered is not None and not allows((offered,), subject):
            offered = None  # what would not answer the next such question is not offered
        return Decision(Verdict.ASK, _why(subject, guards, mode), offered)

    def remember(self, rule: Rule, *, always: bool) -> None:
        """Allow what `rule` matches from now on; `always` also stores it, which writes a file: for a thread.

        The rule counts for this session also where it could not be stored: what `keep` raises comes after.
        """
        with self._remembering:
            rules = self._rules
            if rule not in rules.allow:
                self._rules = replace(rules, allow=(*rules.allow, rule))
                self.version += 1
        if always:
            self._keep(rule)


def _subject(tool: str, access: Access, workspace: Workspace) -> Subject:
    # A workspace that is itself in doubt holds nothing: everything is outside then.
    root = resolve(workspace.root) or workspace.root / "\0"
    text = access.subject.strip()
    match access.kind:
        case AccessKind.COMMAND:
            from core.permissions.shell_analysis import commands, is_dangerous

            folder = access.paths[0] if access.paths else workspace.root
            return Subject(
                tool,
                access.kind,
                text,
                root,
                folder=resolve(folder),
                commands=commands(text),
                dangerous=is_dangerous(text),
            )
        case AccessKind.READ | AccessKind.EDIT:
            real = tuple(resolve(path) for path in access.paths)
            return Subject(tool, access.kind, text, root, access.paths, real)
        case AccessKind.NETWORK | AccessKind.SERVER | AccessKind.AGENT:
            return Subject(tool, access.kind, text, root)
        case _:
            assert_never(access.kind)


def _changes(subject: Subject) -> bool:
    match subject.kind:
        case AccessKind.READ | AccessKind.NETWORK | AccessKind.AGENT:
            return False
        case AccessKind.EDIT | AccessKind.SERVER:
            return True
        case AccessKind.COMMAND:
            from core.permissions.shell_analysis import is_read_only

            return not is_read_only(subject.text)
        case _:
            assert_never(subject.kind)


def _free(mode: Mode, subject: Subject) -> bool:
    """Whether the mode lets it run, given that nothing in it is guarded."""
    match subject.kind:
        case AccessKind.READ | AccessKind.AGENT:
            return True
        case AccessKind.EDIT:
            return mode is Mode.AUTO or (mode is Mode.EDITS and subject.has_paths)
        case AccessKind.COMMAND | AccessKind.NETWORK | AccessKind.SERVER:
            return mode is Mode.AUTO
        case _:
            assert_never(subject.kind)


_ASKING = {
    AccessKind.EDIT: "edits",
    AccessKind.COMMAND: "commands",
    AccessKind.NETWORK: "web addresses",
    AccessKind.SERVER: "tools of servers",
}


def _why(subject: Subject, guards: frozenset[Guard], mode: Mode) -> str:
    if guards:
        reasons = [
            subject.dangerous if guard is Guard.DANGEROUS and subject.dangerous else guard.value
            for guard in Guard
            if guard in guards
        ]
        return "; ".join(reasons)
    asking = _ASKING.get(subject.kind)
    return f"{asking} ask in the mode {mode}" if asking else "it asks"


# -- what "for the session" and "always" would allow --

# What the first two words say of a command, the rest does not turn into something else; as far as that is so.
_KNOWN_STARTS = {
    "git": ("status", "diff", "log", "show", "add", "commit", "blame", "rev-parse"),
    "cargo": ("build", "check", "test", "clippy", "fmt", "doc", "tree"),
    "go": ("build", "test", "vet", "fmt", "list", "doc"),
    "npm": ("test", "ls", "outdated", "view"),
    "pip": ("list", "show", "freeze", "check"),
    "docker": ("ps", "images", "logs"),
}


def _offered(subject: Subject, guards: frozenset[Guard]) -> Rule | None:
    match subject.kind:
        case AccessKind.COMMAND:
            return Rule(subject.tool, _offered_command(subject, guards))
        case AccessKind.READ | AccessKind.EDIT:
            pattern = _offered_path(subject, guards)
            return None if pattern is None else Rule(subject.tool, pattern)
        case AccessKind.NETWORK:
            address = urlsplit(subject.text) if Guard.UNREADABLE not in guards else None
            if address is None or address.hostname is None:
                return None
            port = f":{address.port}" if address.port else ""
            return Rule(subject.tool, f"{address.scheme}://{address.hostname}{port}/*")
        case AccessKind.SERVER | AccessKind.AGENT:
            return Rule(subject.tool, "*")
        case _:
            assert_never(subject.kind)


def _offered_command(subject: Subject, guards: frozenset[Guard]) -> str:
    match subject.commands:
        case ((program, second, *_),) if not guards and second in _KNOWN_STARTS.get(program, ()):
            return f"{shlex.join((program, second))} *"
        case _:
            return glob.escape(subject.text)


def _offered_path(subject: Subject, guards: frozenset[Guard]) -> str | None:
    """The folder of one path, absolute outside the workspace; the path itself where it is guarded."""
    path = subject.real[0] if len(subject.real) == 1 else None
    if path is None:
        return None
    exact = _as_pattern(path, subject.root)
    if subject.kind is AccessKind.READ:
        return f"{exact}/**" if path.is_dir() else exact
    if guards or path.parent == subject.root:
        return exact
    return f"{_as_pattern(path.parent, subject.root).removeprefix('./')}/**"


def _as_pattern(path: Path, root: Path) -> str:
    """One path alone: without a `/` it would be a name in any folder."""
    inner = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    return glob.escape(inner if "/" in inner else f"./{inner}")
