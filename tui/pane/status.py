"""The contents of the status line, read from the session each time and never cached (U4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.operations.events import Status
from core.operations.operation import OperationKind
from core.operations.silence import latest
from tui.keys.bindings import key_name
from tui.pane.status_line import BackOffView, StatusView

if TYPE_CHECKING:
    from core.operations.silence import Silence
    from core.session.session import Session
    from tui.keys.state import EscAction


def status_view(session: Session, esc: EscAction, note: str | None, *, drafting: bool = False) -> StatusView:
    """The whole status line. `note` is a temporary text that takes the place of the permanent ones.

    `drafting` means that the composer has text.
    """
    urgent = (
        f"{key_name('prompt.stop_and_send')} stops and sends"
        if drafting and session.status is Status.RUNNING
        else ""
    )
    standing = [part for part in (urgent, _alive_note(session), _queue_note(session)) if part]
    return StatusView(
        state=session.status,
        esc=esc,
        model=_model(session),
        context_used=session.record.context_used,
        context_window=session.record.info.context_window,
        started_at=session.started_at,
        note=note or " · ".join(standing) or None,
        mode=session.permissions.mode,
        # Show nothing if nothing is known; /sessions shows the details.
        cost=str(session.record.spending) if session.record.spending.known else "",
        back_off=_back_off(session),
        is_hint=bool(note),
    )


def silence_of(session: Session) -> Silence | None:
    """How long the session has received nothing of what it waits for."""
    waited_for = (OperationKind.STREAM, OperationKind.COMPACTION)
    alive = (view for view in session.operations.snapshot() if view.kind in waited_for)
    return latest([view.silence for view in alive if view.silence is not None])


def _model(session: Session) -> str:
    """The chosen model; for a route, also the member that answered last."""
    chosen, info = session.model.choice.model, session.record.info
    # During a turn another member may be asked, and searching the history would take too long.
    if session.status is not Status.IDLE or info.model != chosen or not info.members:
        return chosen
    answered = session.record.plain_steps[-1].model if session.record.plain_steps else ""
    return f"{chosen} → {answered}" if any(one.model == answered for one in info.members) else chosen


def _back_off(session: Session) -> BackOffView | None:
    back_off = session.backoffs.soonest
    if back_off is None or session.status is not Status.RUNNING:
        return None
    return BackOffView(back_off.why, back_off.wait.until, key_name("pane.retry_now"))


def _alive_note(session: Session) -> str:
    """How much is running besides the reply, and what refused to end."""
    kinds = [view.kind for view in session.operations.snapshot()]
    calls, background = kinds.count(OperationKind.CALL), kinds.count(OperationKind.BACKGROUND)
    refused = len(session.unkilled.names)
    parts = (
        "compacting" if OperationKind.COMPACTION in kinds else "",
        f"{refused} refused to end: {key_name('pane.kill')} kills" if refused else "",
        f"{calls} call{'s' * (calls > 1)}" if calls else "",
        f"{background} in background" if background else "",
    )
    return ", ".join(part for part in parts if part)


def _queue_note(session: Session) -> str:
    if not (waiting := len(session.queue.texts)):
        return ""
    return (
        f"{waiting} queued: {key_name('pane.send_queued')} sends"
        if session.queue.paused
        else f"{waiting} queued"
    )
