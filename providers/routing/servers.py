"""The server behind a choice: which names stay there, which host it is, and which servers can be asked.

Pure functions of the settings and of what `endpoint` reads in the environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from core.base.secrets import without_login
from core.base.values import Value
from core.model.directory import OwnServer
from core.model.provider import ModelChoice, ModelError
from providers.catalog import title_of
from providers.routing.routes import target_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from core.model.settings import ModelSettings
    from providers.keys.finder import Endpoint

    GetEndpoint: TypeAlias = Callable[[str, str | None], Endpoint]

OLLAMA = "ollama_chat"

USUAL_HOSTS = {
    "anthropic": "api.anthropic.com",
    "cerebras": "api.cerebras.ai",
    "deepseek": "api.deepseek.com",
    "fireworks_ai": "api.fireworks.ai",
    "gemini": "generativelanguage.googleapis.com",
    "groq": "api.groq.com",
    "mistral": "api.mistral.ai",
    "moonshot": "api.moonshot.ai",
    "nvidia_nim": "integrate.api.nvidia.com",
    "ollama_chat": "localhost:11434",
    "openai": "api.openai.com",
    "openrouter": "openrouter.ai",
    "perplexity": "api.perplexity.ai",
    "xai": "api.x.ai",
    "zai": "api.z.ai",
}
"""Where litellm sends requests of a provider for which no address is named."""

_NO_PLAIN_LIST = frozenset({"azure", "azure_ai", "bedrock", "gemini", "sagemaker", "vertex_ai"})
"""Protocols whose lists of models differ from those that are read here."""


class Server(Value):
    """The server behind a choice. `prefix` goes before the name of a model in a choice, `api_base` and
    `key_name` are those of the choice."""

    protocol: str
    prefix: str = ""
    api_base: str | None = None
    key_name: str | None = None

    def choice(self, model: str) -> ModelChoice:
        return ModelChoice(self.prefix + model, self.api_base, key_name=self.key_name)


def choose(name: str, now: ModelChoice, settings: ModelSettings) -> ModelChoice:
    """What `name` means for a person who uses `now`. See `core.model.directory.ModelDirectory`."""
    prefix, slash, rest = name.partition("/")
    if name == now.model:
        return ModelChoice(name, now.api_base, key_name=now.key_name)
    server = server_of(now, settings)
    if name in settings.routes or name in settings.models or server is None:
        return ModelChoice(name)
    if not slash:
        return server.choice(name)
    if f"{prefix}/" == server.prefix:
        return server.choice(rest)
    if prefix not in settings.providers and _protocol(prefix) == server.protocol:
        # A bare name could mean another provider.
        return server.choice(rest if server.prefix else name)
    return ModelChoice(name)


def server_of(choice: ModelChoice, settings: ModelSettings) -> Server | None:
    """The one server behind a choice; None for a route over several models."""
    name, api_base, key_name = choice.model, choice.api_base, choice.key_name
    for _ in settings.routes:
        if (route := settings.routes.get(name)) is not None and route.model:
            name, api_base, key_name = route.model, None, None
    if name in settings.routes:
        return None
    own_base = ""
    if (named := settings.models.get(name)) is not None:
        name, own_base, key_name = named.model, named.api_base, named.key or None
    prefix, slash, _ = name.partition("/")
    if not slash:
        # At an address of the person's own, a name without a provider means OpenAI's protocol.
        return Server("openai", "", own_base or api_base, named.key if named and own_base else key_name)
    address = settings.providers.get(prefix)
    protocol = prefix if address is None else address.protocol
    if named is not None and own_base:
        return Server(_protocol(protocol), f"{protocol}/", own_base, named.key)
    return Server(_protocol(protocol), f"{prefix}/", api_base, key_name)


class _Place(Value):
    """Where requests go to: an address of the person's own, which a `setting` may name, or the usual one of
    a provider, in words."""

    address: str | None
    usual: str
    setting: str = ""


def hosts(choice: ModelChoice, settings: ModelSettings, endpoint: GetEndpoint) -> tuple[str, ...]:
    """Where requests for `choice` go to, each place once."""
    places = _places(choice, settings, endpoint)
    return tuple(dict.fromkeys(_host(each.address) if each.address else each.usual for each in places))


def addresses(choice: ModelChoice, settings: ModelSettings, endpoint: GetEndpoint) -> tuple[str, ...]:
    """The same with the whole address and the setting that it is from."""
    found: dict[str, None] = {}
    for place in _places(choice, settings, endpoint):
        where = without_login(place.address) if place.address else place.usual
        found[f"{where} ({place.setting})" if place.setting else where] = None
    return tuple(found)


def _places(choice: ModelChoice, settings: ModelSettings, endpoint: GetEndpoint) -> Iterator[_Place]:
    is_route = choice.model in settings.routes
    for name in _models_behind(choice.model, settings):
        try:
            target = target_of(name, settings)
        except ModelError:
            continue  # no request is made with wrong settings
        prefix, slash, _ = target.model.partition("/")
        api_base = target.api_base or (None if is_route else choice.api_base)
        address = endpoint(_protocol(prefix), api_base).api_base if slash else api_base
        usual = f"the provider of {target.model}"
        if slash:
            usual = USUAL_HOSTS.get(_protocol(prefix), f"the usual address of {title_of(prefix)}")
        yield _Place(address, usual, target.address_setting)


def own_servers(now: ModelChoice, settings: ModelSettings, endpoint: GetEndpoint) -> Iterator[OwnServer]:
    """The servers with an address of the person's own: the one in use, then those of the settings."""
    used = server_of(now, settings)
    if used is not None and used.prefix.removesuffix("/") not in settings.providers:
        address = _address(used.protocol, used.api_base, endpoint)
        if address:
            yield OwnServer(_host(address), used.prefix, used.protocol, address, used.key_name)
    names = sorted(settings.providers, key=lambda name: used is None or used.prefix != f"{name}/")
    for name in names:
        server = settings.providers[name]
        protocol = _protocol(server.protocol)
        key = server.key if server.api_base else server.key or None
        if address := _address(protocol, server.api_base or None, endpoint):
            yield OwnServer(name, f"{name}/", protocol, address, key, server.options)


def _address(protocol: str, api_base: str | None, endpoint: GetEndpoint) -> str:
    """Its own address; "" if there is none, or no list that could be read."""
    if protocol in _NO_PLAIN_LIST:
        return ""
    usual = f"http://{USUAL_HOSTS[OLLAMA]}" if protocol == OLLAMA else ""
    return endpoint(protocol, api_base).api_base or usual


def _models_behind(name: str, settings: ModelSettings) -> Iterator[str]:
    """The models of a route, also of the routes in it; else `name` itself."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        name = waiting.pop(0)
        if name not in seen:
            seen.add(name)
            if (route := settings.routes.get(name)) is None:
                yield name
            else:
                waiting += route.members


def _protocol(name: str) -> str:
    """litellm has two ways to Ollama, of which only one is used."""
    return OLLAMA if name == "ollama" else name


def _host(address: str) -> str:
    """The host of an address, with its port; never with a name or a password."""
    try:
        return urlsplit(address).netloc.rpartition("@")[2] or "an address without a host"
    except ValueError:
        return "an address without a host"
