"""Where the parts of Caesura are put together: beside the command line the one place that knows providers.

It must stay cheap: the model process starts first, and everything else is imported while that imports its
library on another processor.
"""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from core import logs
from core.folders import config_path, data_folder, find_project_file
from core.threads import run_in_thread
from tui.options import UsageError, settings_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import ExitStack
    from pathlib import Path

    from core.cancel import CancelToken
    from core.config import Loaded
    from core.config_peek import FirstLook
    from core.doctor import Check, Redaction
    from core.doctor_checks import KeysKept
    from core.doctor_terminal import TerminalFacts
    from core.journal import Opened
    from core.loop_lag import LoopLag
    from core.model import (
        Emit,
        Finished,
        ModelChoice,
        ModelInfo,
        ModelProvider,
        ModelRequest,
        Offer,
    )
    from core.operations import Registry
    from core.session import Session
    from core.sessions import Sessions
    from core.settings import Settings
    from core.stop_times import StopTimes
    from core.store import Store
    from providers.process import ModelProcess
    from providers.routing import Router

STOPS_MEASURED = 20


def choose_model(named: str | None, environment: Mapping[str, str]) -> str:
    """The model to use: the one that was named, else one of the provider whose key is there.

    Raises `UsageError` when nothing says which.
    """
    if named:
        return named
    # Else the table need not be read.
    if any(name.endswith(("_KEY", "_TOKEN")) for name in environment):
        from providers.default_models import chat_model_in

        if (model := chat_model_in(environment)) is not None:
            return model
    raise UsageError(
        "no model is chosen: try `caesura --demo`, which needs none, start `caesura` alone, which asks for "
        "one, or name one, as in `caesura --model anthropic/claude-sonnet-5-5`, with its key in "
        "ANTHROPIC_API_KEY."
    )


class Parts:
    """What one run of Caesura is made of. The model process ends with `stack`."""

    def __init__(self, options: argparse.Namespace, stack: ExitStack) -> None:
        if options.demo and (options.model or options.api_base):
            raise UsageError("--demo is a model of its own: leave out --model and --api-base, or --demo.")
        self._options = options
        self._stack = stack
        self.process = self._start_process()
        # While that imports its library on another processor.
        self.folder = current_folder()
        self.look = first_look(self.folder)
        self.settings = settings_in(self.folder, options)
        self._registry: Registry | None = None
        self._is_demo = False

    def _start_process(self) -> ModelProcess:
        from providers.process import ModelProcess

        process = ModelProcess(lambda: logs.state_folder() / "worker.log")
        process.start()
        self._stack.callback(process.close)
        return process

    @property
    def named_model(self) -> str | None:
        """The model that the command line names, or else the environment or the settings."""
        return self._options.model or self.look.model or None

    @property
    def is_model_chosen(self) -> bool:
        """Whether the command line says which model is to answer, or where it is."""
        return bool(self._options.demo or self._options.model or self._options.api_base)

    @property
    def is_first_start(self) -> bool:
        """Nobody has ever said which model is to answer."""
        if self._options.demo or self._options.api_base or self.named_model:
            return False
        if not config_path().exists():
            return True
        try:
            choose_model(None, os.environ)
        except UsageError:
            return True
        return False

    def choose(self) -> ModelChoice:
        """The model that answers. Raises `UsageError` when nothing says which."""
        if self._options.demo:
            return self.choose_demo()
        from core.model import ModelChoice

        return ModelChoice(choose_model(self.named_model, os.environ), self._options.api_base)

    def choose_demo(self) -> ModelChoice:
        """Start the demo model's server. Blocks for a moment."""
        from core.model import ModelChoice
        from providers.demo import DemoServer

        demo = self._stack.enter_context(DemoServer())
        self._is_demo = True
        return ModelChoice(demo.model, demo.url)

    def router(self) -> Routed:
        return Routed(self.process, self.settings)

    @property
    def registry(self) -> Registry:
        """Everything that is alive."""
        from core.operations import Registry

        if self._registry is None:
            self._registry = Registry()
        return self._registry

    def sessions(self, provider: ModelProvider, choice: Callable[[], ModelChoice]) -> Sessions:
        """The sessions of this person, new ones in the current folder; `choice` is what answers in them."""
        from core.access import Workspace
        from core.equipment import Equipment
        from core.permissions import Mode, Permissions
        from core.prompt import system_prompt
        from core.session import Session
        from core.sessions import Sessions
        from core.tools.toolbox import Toolbox
        from core.turn import Limits

        options, folder, settings = self._options, self.folder, self.settings
        mode = None if options.mode is None else Mode(options.mode)
        limits = Limits(options.max_steps, options.deadline, options.max_budget)
        system = system_prompt(folder)
        store = open_store()

        def make_session(opened: Opened | None) -> Session:
            chosen = replace(choice(), system=system)
            equipment = Equipment(
                Permissions(Workspace(folder), mode=mode or Mode.ASK),
                lambda session: Toolbox(session, settings),
                limits,
                mode_chosen=mode is not None,
                # A run of one prompt is over before they are, and the demo model knows no titles.
                jobs=options.command is None and not self._is_demo,
                make_journal=lambda session_id: store.create(session_id, str(folder), chosen.model),
            )
            return Session(provider, self.registry, chosen, equipment, opened)

        return Sessions(store, make_session, folder)


class Routed:
    """A `providers.routing.Router` that is imported when it is asked for the first time, in a thread."""

    def __init__(self, process: ModelProcess, settings: Settings) -> None:
        self._process = process
        self._settings = settings
        self._lock = threading.Lock()
        self._router: Router | None = None

    async def stream(self, request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        token.check()
        return await (await self._ready()).stream(request, token, emit)

    async def describe(self, model: str) -> ModelInfo:
        return await (await self._ready()).describe(model)

    async def offers(self) -> tuple[Offer, ...]:
        return await (await self._ready()).offers()

    async def _ready(self) -> Router:
        router = self._router
        return router if router is not None else await run_in_thread(self._make, name="import of routes")

    def _make(self) -> Router:
        from providers.routing import Router

        with self._lock:
            if self._router is None:
                self._router = Router(self._process, self._settings.models)
            return self._router


def first_look(folder: Path) -> FirstLook:
    from core.config_peek import peek

    return peek(config_path(), project=find_project_file(folder))


def settings_in(folder: Path, options: argparse.Namespace) -> Settings:
    from core.settings import Settings

    return Settings(folder, key_names, settings_of(options))


def open_store() -> Store:
    from core.store import Store

    return Store(data_folder() / "caesura.db")


def current_folder() -> Path:
    from pathlib import Path

    try:
        return Path.cwd()
    except OSError as error:
        raise UsageError("the current folder is gone: change to one that exists.") from error


def key_names(extra: Iterable[str]) -> frozenset[str]:
    from providers.key_names import all_key_variables

    return all_key_variables(extra)


# -- the doctor --


def terminal_facts() -> TerminalFacts:
    from core.doctor_terminal import TerminalFacts
    from tui.driver import escape_wait

    # Not `sys.stdout`, in whose place Textual puts something that has no encoding.
    output = sys.__stdout__
    size = os.get_terminal_size(1) if output is not None and output.isatty() else None
    encoding = "" if output is None else output.encoding
    return TerminalFacts(
        os.environ,
        None if size is None else (size.columns, size.lines),
        encoding,
        escape_wait_s=escape_wait(os.environ),
    )


def standing_checks(parts: Parts, facts: TerminalFacts) -> tuple[Check, ...]:
    """What can be looked at without a session."""
    from core import doctor_checks as checks
    from core.doctor_terminal import terminal_checks
    from tui.keys import follow_keymap

    loaded = parts.settings.load()
    bad_keys = (str(error) for error in follow_keymap(loaded.config.keys).errors)
    database = data_folder() / "caesura.db"
    return (
        *terminal_checks(facts),
        checks.configuration_check(
            config_path(),
            (*loaded.errors, *bad_keys, *loaded.notices),
            project=loaded.project if loaded.project_counts else None,
        ),
        checks.keys_check(key_names(parts.settings.key_names()), os.environ),
        checks.keyring_check(partial(_keys_kept, parts.settings)),
        checks.model_check(_asked_model(parts, loaded), parts.router().describe),
        checks.model_process_check(lambda: parts.process.pid, lambda: parts.process.restarts),
        checks.containment_check(parts.settings.containment),
        checks.session_file_check(database),
        checks.folder_check("Sessions", data_folder),
        checks.folder_check("Log", logs.state_folder),
        checks.disk_check(database.parent),
        checks.versions_check("textual", "litellm"),
    )


def _asked_model(parts: Parts, loaded: Loaded) -> str:
    try:
        return choose_model(parts.named_model or loaded.config.model, os.environ)
    except UsageError:
        return ""


def _keys_kept(settings: Settings) -> KeysKept:
    from core.doctor_checks import KeysKept
    from providers.key_store import KeyStore
    from providers.keys import KeySource

    survey = KeyStore(extra=settings.key_names()).survey()
    kept = (entry for entry in survey.entries if entry.source is not KeySource.ENVIRONMENT)
    return KeysKept(tuple((entry.name, entry.source.value) for entry in kept), survey.problems)


def measured_stops(parts: Parts, stack: ExitStack) -> Check:
    """How long stops take with the demo model, for there is no session yet that was stopped."""
    from core.cancel import CancelToken
    from core.doctor_checks import measured_stops_check
    from core.messages import UserMessage
    from core.model import ModelRequest
    from providers.demo import DemoServer
    from providers.stop_check import measure_stops

    demo = stack.enter_context(DemoServer())
    request = ModelRequest(demo.model, (UserMessage("long"),), api_base=demo.url)
    token = CancelToken("the doctor")
    return measured_stops_check(lambda: measure_stops(parts.process, request, STOPS_MEASURED, token))


def redacted() -> Redaction:
    import socket
    from pathlib import Path

    from core.doctor import redaction

    return redaction(os.environ, str(Path.home()), (socket.gethostname(),))


def session_checks(
    parts: Parts, session: Session, lag: LoopLag, screen: tuple[int, int]
) -> tuple[Check, ...]:
    """The same for a program that runs, with what it has seen so far."""
    from core import doctor_checks as checks
    from core.stop_times import stop_times

    def times() -> StopTimes:
        return stop_times(parts.registry.records, parts.registry.snapshot(), session.session_id)

    # Standard output is Textual's by then.
    facts = replace(terminal_facts(), size=screen)
    return (*standing_checks(parts, facts), checks.lag_check(lag), checks.stops_check(times))
