"""How one server differs from others of its protocol: settings of `[providers.NAME]`, sent with a request."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from msgspec import field

from core.base.setting import Count, Doc, FromZero, HeaderValue, Proxy, Seconds, Switch, text
from core.base.values import Record, Value


class Reader(StrEnum):
    """Who reads a reply: Caesura its bytes, where it knows the protocol, or litellm."""

    OWN = "own"
    LITELLM = "litellm"


def _parse_body(value: str) -> str:
    try:
        is_object = not value or isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise ValueError("it must be a JSON object")
    return value


def _parse_file(value: str) -> str:
    if value and not Path(value).expanduser().is_absolute():
        raise ValueError("it must be an absolute path, or one that begins with ~/")
    return value


class Network(Value):
    """How a server is reached. The fields are those of `ServerOptions`."""

    ca_file: str = ""
    proxy: str = ""


class ServerOptions(Record, kw_only=True, forbid_unknown_fields=True):
    """Options of a server. Prices are in dollars per million tokens, times in seconds."""

    first_byte_timeout: Annotated[
        Seconds,
        Doc("How long it may take until the first word, in seconds, whatever else comes.", example=1200),
    ] = 600.0
    idle_timeout: Annotated[
        Seconds,
        Doc(
            "How long nothing may come in the middle of a reply, in seconds; a sign of life counts.",
            example=60,
        ),
    ] = 600.0
    stream: Annotated[Switch, Doc("Whether its replies are asked for in pieces, or as a whole.")] = True
    stream_options: Annotated[
        Switch, Doc("Whether a stream is asked to count its tokens. Some servers refuse that.")
    ] = True
    tools: Annotated[Switch, Doc("Whether its models may call tools.")] = True
    images: Annotated[
        Switch | None,
        Doc("Whether its models see images; unset, those that the catalogue says so of.", example=True),
    ] = None
    fold_thinking: Annotated[
        Switch, Doc("Whether text between <think> and </think> at the beginning of a reply is reasoning.")
    ] = True
    headers: Annotated[
        dict[str, HeaderValue], Doc("Sent along with each request.", example="value", secret=True)
    ] = field(default_factory=dict)
    body: Annotated[
        str,
        text("a JSON object, as text", _parse_body),
        Doc("Fields that are added to each request.", example='{"chat_template_kwargs": {"thinking": true}}'),
    ] = ""
    ca_file: Annotated[
        str,
        text("an absolute path", _parse_file),
        Doc("A file with the certificates that it is trusted by, in PEM.", example="~/company-ca.pem"),
    ] = ""
    proxy: Annotated[
        Proxy,
        Doc(
            "The proxy on the way to it, in place of those of the environment; none: no proxy.",
            secret=True,
            example="http://proxy.example.com:3128",
        ),
    ] = ""
    context_window: Annotated[
        Count | None, Doc("How much its models can read, in tokens.", example=32768)
    ] = None
    input_price: Annotated[
        FromZero | None, Doc("Dollars for a million tokens that they read.", example=0.5)
    ] = None
    output_price: Annotated[
        FromZero | None, Doc("Dollars for a million tokens that they write.", example=1.5)
    ] = None
    reader: Annotated[
        Reader,
        Doc("Who reads its replies: own is Caesura itself, where it knows the protocol; litellm is litellm."),
    ] = Reader.OWN

    @property
    def network(self) -> Network:
        return Network(self.ca_file, self.proxy)

    @property
    def more_body(self) -> dict[str, Any]:
        """The added fields of a request."""
        read: dict[str, Any] = json.loads(self.body or "{}")
        return read


USUAL = ServerOptions()
