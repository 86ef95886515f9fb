"""What `/status` says: which model, under what rules, in which session, with whose notes and settings.

It tells what is, and asks nobody: no request, no disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.containment import Containment
from core.values import dataclass
from tui.widgets.status_line import format_tokens

if TYPE_CHECKING:
    from core.model import ModelInfo
    from core.session import Session
    from core.turn import Limits


@dataclass(frozen=True, slots=True)
class StatusFacts:
    """All that is told. Texts that are empty are left out; `config` is one file a line. `members` are the
    models behind a route, `answered` the one of them that answered last."""

    version: str
    model: str
    members: tuple[str, ...]
    answered: str
    effort: str
    address: str
    folder: str
    mode: str
    limits: str
    session: str
    context: str
    notes: tuple[str, ...]
    config: str
    containment: str
    servers: str


def status_report(facts: StatusFacts) -> str:
    """The facts as lines of plain text, each with its name in front."""
    behind = ", ".join(facts.members)
    named = (
        ("Version", facts.version),
        ("Model", facts.model),
        ("Behind it", behind),
        ("Answered last", facts.answered if facts.answered != facts.model else ""),
        ("Effort", facts.effort),
        ("Address", facts.address),
        ("Folder", facts.folder),
        ("Mode", facts.mode),
        ("Containment", facts.containment),
        ("Limits", facts.limits),
        ("Session", facts.session),
        ("Context", facts.context),
        ("Notes read", "\n".join(facts.notes) or "none: /init has the model write AGENTS.md"),
        ("Settings", facts.config),
        ("MCP", facts.servers),
    )
    told = [(name, text) for name, text in named if text]
    width = max(len(name) for name, _ in told)
    return "\n".join(_entry(name, text, width) for name, text in told)


_CONTAINED = {
    Containment.NAMESPACE: "commands run in a PID namespace, which nothing can leave",
    Containment.GROUP: "commands run under a keeper; no PID namespace can be made here",
}


def facts_of(session: Session, config: str, containment: Containment) -> StatusFacts:
    """Of a session as it is now. `config` is told as it is; `containment` is the best of this machine."""
    choice, info = session.choice, session.info
    steps = session.record.steps
    title = session.upkeep.title
    return StatusFacts(
        version=_version(),
        model=choice.model,
        members=tuple(member.model for member in info.members),
        answered=steps[-1].step.model if steps else "",
        effort=choice.parameters.effort or "left to the provider",
        address=choice.api_base or "the provider's usual one",
        folder=str(session.workspace.root),
        mode=session.mode,
        limits=_limits(session.limits),
        session=f"{session.session_id}{f' ‘{title}’' if title else ''}",
        context=_context(session.context_used, info),
        notes=session.notes_files,
        config=config,
        containment=_CONTAINED[containment],
        servers=session.describe_servers(),
    )


def _entry(name: str, text: str, width: int) -> str:
    first, *rest = text.splitlines()
    return "\n".join((f"{name.ljust(width)}  {first}", *(f"{' ' * width}  {line}" for line in rest)))


def _limits(limits: Limits) -> str:
    parts = (
        None if limits.steps is None else f"{limits.steps} replies a turn",
        None if limits.seconds is None else f"{limits.seconds:g} s a turn",
        None if limits.dollars is None else f"${limits.dollars:,.2f} a session",
    )
    return ", ".join(filter(None, parts)) or "none"


def _context(used: int | None, info: ModelInfo) -> str:
    window = info.context_window
    if used is None:
        return f"of {format_tokens(window)} tokens, nothing counted yet" if window else "not counted yet"
    if not window:
        return f"{format_tokens(used)} tokens; how many the model takes is not known"
    return f"{format_tokens(used)} of {format_tokens(window)} tokens ({used / window:.0%})"


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"Caesura {version('caesura')}"
    except PackageNotFoundError:
        return "Caesura from its source, not installed"
