"""`caesura config check --server NAME`: the findings as they come, and what they want written down.

Findings and proposals go to standard output, messages to standard error. No setting is changed.
"""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from typing import TYPE_CHECKING

from core.base.errors import CaesuraError
from core.base.output import check_output, write_messages, write_output_in_thread
from core.base.sanitize import printable
from core.base.secrets import without_login
from core.cancel import Cancelled, CancelToken, stopped_by_signals
from core.config.edit import rendered
from core.config.tree import dotted, nearest
from core.frontends.doctor.report import report
from core.frontends.headless import ExitCode
from core.frontends.server_check.asking import MOST_TOKENS, Questions
from core.frontends.server_check.check import ServerCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from core.config.load import Loaded
    from core.config.schema import Config
    from core.frontends.doctor.report import Finding
    from core.frontends.server_check.asking import ServerAsker
    from core.model.settings import ModelSettings, ServerAddress

    MakeAsker = Callable[[ModelSettings], ServerAsker]


def run_server_check(
    name: str, model: str | None, loaded: Loaded, make: Callable[[], AbstractContextManager[MakeAsker]]
) -> int:
    """Check the server `name` of the settings and return the exit code: 0 if it needs nothing, else 1.

    `model` is the one to ask for; None takes one of the settings, or the first that the server lists. `make`
    is entered once, if there is such a server.
    """
    try:
        check_output()
        write_messages(*loaded.errors)
        server = loaded.config.providers.get(name)
        if server is None:
            write_messages(_unknown(name, loaded.config))
            return ExitCode.USAGE
        chosen = _model_of(name, loaded.config) if model is None else model.removeprefix(f"{name}/")
        with make() as make_asker:
            return asyncio.run(_check(name, chosen, server, make_asker))
    except CaesuraError as error:
        write_messages(str(error))
        return ExitCode.FAILED
    except BrokenPipeError:
        return ExitCode.OUTPUT_CLOSED


async def _check(name: str, model: str, server: ServerAddress, make_asker: MakeAsker) -> int:
    token = CancelToken("check of a server")
    questions = Questions(name, model, make_asker, token)
    check = ServerCheck(questions, server, _tell)
    try:
        with stopped_by_signals(token):
            await check.run()
    except Cancelled as stop:
        write_messages("Stopped: the connection is closed, and nothing was changed.")
        return 128 + signal.Signals[stop.reason.source]
    changes = {
        field: value
        for field in server.__struct_fields__
        if (value := getattr(check.proposed, field)) != getattr(server, field)
    }
    for line in (*_proposal(name, changes), _cost(questions.sent)):
        await _write(f"{line}\n")
    return ExitCode.COMPLETED if check.is_well and not changes else ExitCode.FAILED


def _proposal(name: str, changes: dict[str, object]) -> Iterator[str]:
    if not changes:
        return
    yield ""
    yield "Write this into your settings:"
    yield ""
    yield f"[{dotted(('providers', name))}]"
    hidden = {field for field, value in changes.items() if str(value) != without_login(str(value))}
    for field, value in changes.items():
        if field in hidden:
            yield "# With the name and the password that your address has:"
        yield f"{field} = {rendered(without_login(str(value)) if field in hidden else value)}"
    yield ""
    if changes.keys() == hidden:
        return
    yield "These commands do it:" if not hidden else "These commands do all but the address:"
    yield ""
    for field, value in changes.items():
        if field not in hidden:
            key = dotted(("providers", name, field))
            yield shlex.join(["caesura", "config", "set", key, rendered(value)])
    yield ""


def _cost(sent: int) -> str:
    requests = f"{sent} request{'s' if sent != 1 else ''} for a reply of at most {MOST_TOKENS} tokens"
    return f"Sent: {requests}, besides questions about its models. No setting was changed."


def _unknown(name: str, config: Config) -> str:
    known = sorted(config.providers)
    if not known:
        return "The settings name no server: `caesura config manual` shows [providers.NAME]."
    meant = nearest(name, known)
    hint = f"did you mean {meant}?" if meant else f"there are {', '.join(known)}."
    return f"The settings have no [{dotted(('providers', name))}]: {hint}"


def _model_of(name: str, config: Config) -> str:
    """The first model of this server that the settings name; empty if they name none."""
    routes = (member for route in config.routes.values() for member in route.members)
    models = (named.model for named in config.models.values())
    for choice in (config.model, *config.favourites, *routes, *models):
        named = config.models.get(choice)
        model = choice if named is None else named.model
        if model.startswith(f"{name}/"):
            return model.removeprefix(f"{name}/")
    return ""


async def _tell(finding: Finding) -> None:
    await _write(report((finding,)))


async def _write(text: str) -> None:
    shown = "".join(f"{printable(line)}\n" for line in text.splitlines())
    await write_output_in_thread(shown, sys.stdout.encoding or "utf-8")
