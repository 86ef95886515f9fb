"""Builds the program from its parts. Only this module and `main.py` know the providers.

It must stay cheap: the model process starts first, and everything else is imported while that process imports
its library on another processor.
"""

from __future__ import annotations

import os
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from core.base import logs
from core.base.folders import config_path, data_folder, find_project_file
from core.base.threads import run_in_thread
from tui.cli.parser import UsageError, settings_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import ExitStack
    from pathlib import Path

    from core.cancel import CancelToken
    from core.config.load import Loaded
    from core.config.settings import Settings
    from core.frontends.doctor.checks import KeysKept
    from core.frontends.doctor.loop_lag import LoopLag
    from core.frontends.doctor.report import Check, Redaction
    from core.frontends.doctor.terminal import TerminalFacts
    from core.model.directory import ServerModels
    from core.model.provider import (
        Emit,
        Finished,
        ModelChoice,
        ModelInfo,
        ModelProvider,
        ModelRequest,
        Offer,
    )
    from core.operations.registry import Registry
    from core.session.archive import Sessions
    from core.session.session import Session
    from core.storage.journal import OpenedSession
    from core.storage.store import Store
    from providers.client.model_process import ModelProcess
    from providers.routing.router import Router

STOPS_MEASURED = 20


def choose_model(named: str | None, environment: Mapping[str, str]) -> str:
    """The model to use: the named one, or one of a provider whose key is in the environment.

    Raises `UsageError` if there is neither.
    """
    if named:
        return named
    # Without one the table need not be imported.
    if any(name.endswith(("_KEY", "_TOKEN")) for name in environment):
        from providers.keys.default_models import chat_model_in

        if (model := chat_model_in(environment)) is not None:
            return model
    raise UsageError(
        "no model is chosen: try `caesura --demo`, which needs none, start `caesura` alone, which asks for "
        "one, or name one, as in `caesura --model anthropic/claude-sonnet-5-5`, with its key in "
        "ANTHROPIC_API_KEY."
    )


class Parts:
    """The parts of one run. The model process ends with `stack`."""

    def __init__(self, options: argparse.Namespace, stack: ExitStack) -> None:
        if options.demo and (options.model or options.api_base):
            raise UsageError("--demo is a model of its own: leave out --model and --api-base, or --demo.")
        self._options = options
        self._stack = stack
        self.process = start_model_process()
        stack.callback(self.process.close)
        # The process imports its library on another processor in the meantime.
        from core.config.read_early import read_early

        self.folder = current_folder()
        self.look = read_early(config_path(), project=find_project_file(self.folder))
        self.settings = settings_in(self.folder, options)
        self._registry: Registry | None = None
        self._is_demo = False

    @property
    def named_model(self) -> str | None:
        """The model that the command line, the environment or the settings name."""
        return self._options.model or self.look.model or None

    @property
    def is_model_chosen(self) -> bool:
        """Whether the command line names a model or an address."""
        return bool(self._options.demo or self._options.model or self._options.api_base)

    @property
    def is_first_start(self) -> bool:
        """Whether no model has been chosen yet."""
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
        """The model to use. Raises `UsageError` if none is chosen."""
        if self._options.demo:
            return self.choose_demo()
        from core.model.provider import ModelChoice

        return ModelChoice(choose_model(self.named_model, os.environ), self._options.api_base)

    def choose_demo(self) -> ModelChoice:
        """Start the demo model's server. Blocks for a moment."""
        from core.model.provider import ModelChoice
        from providers.demo.server import DemoServer

        demo = self._stack.enter_context(DemoServer())
        self._is_demo = True
        return ModelChoice(demo.model, demo.url)

    def router(self) -> Routed:
        return Routed(self.process, self.settings)

    @property
    def registry(self) -> Registry:
        """The registry of live operations."""
        from core.operations.registry import Registry

        if self._registry is None:
            self._registry = Registry()
        return self._registry

    def sessions(self, provider: ModelProvider, choice: Callable[[], ModelChoice]) -> Sessions:
        """The stored sessions, and new ones in the current folder; `choice` gives the model of a new one."""
        from core.context.system_prompt import system_prompt
        from core.engine.turn import Limits
        from core.permissions.access import Workspace
        from core.permissions.policy import Mode, Permissions
        from core.session.archive import Sessions
        from core.session.dependencies import SessionDependencies
        from core.session.session import Session
        from core.tools.toolbox import Toolbox

        options, folder, settings = self._options, self.folder, self.settings
        mode = None if options.mode is None else Mode(options.mode)
        limits = Limits(options.max_steps, options.deadline, options.max_budget)
        system = system_prompt(folder)
        store = open_store()

        def make_session(opened: OpenedSession | None) -> Session:
            chosen = replace(choice(), system=system)
            dependencies = SessionDependencies(
                Permissions(Workspace(folder), mode=mode or Mode.ASK),
                lambda session: Toolbox(session, settings),
                limits,
                mode_chosen=mode is not None,
                # A run of one prompt ends before the jobs do. The demo model makes no titles.
                jobs=options.command is None and not self._is_demo,
                make_journal=lambda session_id: store.create(session_id, str(folder), chosen.model),
            )
            return Session(provider, self.registry, chosen, dependencies, opened)

        return Sessions(store, make_session, folder)


class Routed:
    """A `providers.routing.router.Router` that is imported in a thread at its first use."""

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

    async def server_models(self, now: ModelChoice) -> ServerModels:
        return await (await self._ready()).server_models(now)

    async def choose(self, name: str, now: ModelChoice) -> ModelChoice:
        return await (await self._ready()).choose(name, now)

    async def hosts(self, choice: ModelChoice) -> tuple[str, ...]:
        return await (await self._ready()).hosts(choice)

    async def addresses(self, choice: ModelChoice) -> tuple[str, ...]:
        return await (await self._ready()).addresses(choice)

    async def _ready(self) -> Router:
        router = self._router
        return router if router is not None else await run_in_thread(self._make, name="import of routes")

    def _make(self) -> Router:
        from providers.routing.router import Router

        with self._lock:
            if self._router is None:
                self._router = Router(self._process, self._settings.models)
            return self._router


def start_model_process() -> ModelProcess:
    from providers.client.model_process import ModelProcess

    process = ModelProcess(lambda: logs.state_folder() / "worker.log")
    process.start()
    return process


def settings_in(folder: Path, options: argparse.Namespace) -> Settings:
    from core.config.settings import Settings

    return Settings(folder, key_names, settings_of(options))


def open_store() -> Store:
    from core.storage.store import Store

    return Store(data_folder() / "caesura.db")


def current_folder() -> Path:
    from pathlib import Path

    try:
        return Path.cwd()
    except OSError as error:
        raise UsageError("the current folder is gone: change to one that exists.") from error


def key_names(extra: Iterable[str]) -> frozenset[str]:
    from providers.keys.names import all_key_variables

    return all_key_variables(extra)


# -- the doctor --


def terminal_facts() -> TerminalFacts:
    from core.frontends.doctor.terminal import TerminalFacts
    from tui.terminal.driver import escape_wait

    # Textual replaces `sys.stdout` by an object without an encoding.
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
    """The checks that need no session."""
    from core.frontends.doctor import checks as checks
    from core.frontends.doctor.network import certificates_check, proxies_check
    from core.frontends.doctor.terminal import terminal_checks
    from tui.keys.bindings import follow_keymap

    loaded = parts.settings.load()
    servers = loaded.config.providers
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
        proxies_check(os.environ, {name: server.proxy for name, server in servers.items()}),
        certificates_check(os.environ, {name: server.ca_file for name, server in servers.items()}),
        checks.model_check(_asked_model(parts, loaded), parts.router().describe),
        checks.model_process_check(
            lambda: parts.process.pid, lambda: parts.process.restarts, lambda: parts.process.is_resting
        ),
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
    from core.frontends.doctor.checks import KeysKept
    from providers.keys.finder import KeySource
    from providers.keys.store import KeyStore

    report = KeyStore(extra=settings.key_names()).report()
    kept = (entry for entry in report.entries if entry.source is not KeySource.ENVIRONMENT)
    return KeysKept(tuple((entry.name, entry.source.value) for entry in kept), report.problems)


def measured_stops(parts: Parts, stack: ExitStack) -> Check:
    """How long stops take, measured with the demo model: there is no session yet that was stopped."""
    from core.cancel import CancelToken
    from core.frontends.doctor.checks import measured_stops_check
    from core.frontends.doctor.stop_check import measure_stops
    from core.model.messages import UserMessage
    from core.model.provider import ModelRequest
    from providers.demo.server import DemoServer

    demo = stack.enter_context(DemoServer())
    request = ModelRequest(demo.model, (UserMessage("long"),), api_base=demo.url)
    token = CancelToken("the doctor")
    return measured_stops_check(lambda: measure_stops(parts.process, request, STOPS_MEASURED, token))


def redacted() -> Redaction:
    import socket
    from pathlib import Path

    from core.frontends.doctor.report import redaction

    return redaction(os.environ, str(Path.home()), (socket.gethostname(),))


def session_checks(
    parts: Parts, session: Session, lag: LoopLag, screen: tuple[int, int]
) -> tuple[Check, ...]:
    """All checks of a running program, with the lag and the stops of its session."""
    from core.frontends.doctor import checks as checks
    from core.frontends.doctor.stop_times import stop_times

    times = partial(stop_times, session.operations)
    # Textual has replaced standard output by then.
    facts = replace(terminal_facts(), size=screen)
    return (*standing_checks(parts, facts), checks.lag_check(lag), checks.stops_check(times))
