"""What is sent from the composer of a pane: a command is run, a prompt goes to the session."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from core.base.errors import CaesuraError
from tui.transcript.plain import NoticeKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui.commands.command import CommandTarget
    from tui.composer.queue import QueueActions
    from tui.pane.outbox import Outbox
    from tui.pane.state import PaneState


class PromptSender:
    """Sends for one session; `target` runs the commands. While `outbox` is held, what is sent waits there."""

    def __init__(self, state: PaneState, outbox: Outbox, target: CommandTarget) -> None:
        self._state = state
        self._outbox = outbox
        self._target = target

    def submit(self, text: str, sent_at: float) -> None:
        """Send what was written; `sent_at` is when, in seconds of `time.monotonic`."""
        if not self._outbox.keeps(text):
            self._send(text, sent_at, self._state.session.submit)

    def stop_and_send(self, text: str, sent_at: float, queue: QueueActions) -> None:
        """Stop the turn and send this next."""
        if not self._outbox.keeps(text):
            self._send(text, sent_at, lambda text: queue.stop_and_send(text, at=sent_at))

    def deliver(self, text: str) -> None:
        """Send what has waited in the outbox."""
        self._send(text, time.monotonic(), self._state.session.submit)

    def _send(self, text: str, sent_at: float, send: Callable[[str], object]) -> None:
        # Imported after the first frame, unless an Enter comes before that.
        from tui.commands.table import COMMANDS

        try:
            command = COMMANDS.read(text)
            if command is not None:
                command.run(self._target)
            elif text and self._state.stop_keys.overtook(sent_at):
                # Sent before the stop and overtaken by it: it waits, like everything queued before a stop.
                self._state.session.queue.hold(text)
            else:
                send(text)
        except CaesuraError as error:
            self._state.widgets.notify(str(error), NoticeKind.ERROR)
            self._state.widgets.prompt.set_text_if_empty(text)
        self._state.widgets.dialogs.offer_focus()
        self._state.refresh()
