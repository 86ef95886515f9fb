"""Which failure an exception of litellm or of the connection is, with one sentence for the user.

litellm relabels: a refused connection arrives as a 500, a 413 as a 429, a dead stream as a "fallback". So the
chain of causes is read from the inside out: first the server's actual answer, then the fate of the
connection, and litellm's own status and text only without either of them.

This module must never import litellm, and nothing it returns may hold a key.
"""

from __future__ import annotations

import email.utils
import math
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from core.base.values import Value
from core.model.provider import FailureKind, ModelError
from providers.keys.names import KeyProblem, explain
from providers.worker.errors.failures import (
    ANOTHER,
    DETAIL_LIMIT,
    SEND_AGAIN,
    Request,
    cut_short,
    unreadable,
)
from providers.worker.errors.redaction import TEXT_LIMIT, scrub, server_message

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHAIN_LIMIT = 12

CONTEXT_TOO_LONG = re.compile(
    r"ContextWindowExceeded|context[ _](length|window)|maximum context|(prompt|input) is too long"
    r"|too many (input )?tokens|token count .{0,40}exceeds|exceeds the (available )?(max|context)"
    r"|maximum number of tokens|request_too_large|reduce the length",
    re.IGNORECASE,
)
NO_KEY = re.compile(
    r"missing credentials|missing \w+ api key|api_key client option must be set|no api[ _]key", re.IGNORECASE
)
WRONG_KEY = re.compile(
    r"api[ _]key not valid|api_key_invalid|(invalid|incorrect|wrong)[ _](x-)?api[- _]key|invalid_api_key",
    re.IGNORECASE,
)
NO_CREDIT = re.compile(
    r"insufficient_quota|insufficient (balance|credit)|credit balance is too low", re.IGNORECASE
)
UNKNOWN_MODEL = re.compile(
    r"llm provider not provided|model_not_found|unknown model|(not a|in)valid model"
    r"|model.{0,80}(not found|does not exist|not supported)|deploymentnotfound",
    re.IGNORECASE,
)
ABOUT_MODEL = re.compile(r"\b(model|deployment)s?\b", re.IGNORECASE)
OVERLOADED = re.compile(r"overloaded|unavailable|server busy", re.IGNORECASE)

DNS_ERRORS = frozenset({"gaierror", "ClientConnectorDNSError"})
TIMEOUTS = frozenset(
    {
        "APITimeoutError", "ConnectTimeout", "ConnectionTimeoutError", "PoolTimeout", "ReadTimeout",
        "ServerTimeoutError", "SocketTimeoutError", "Timeout", "TimeoutError", "WriteTimeout",
    }
)  # fmt: skip
CERTIFICATE_ERRORS = frozenset({"ClientConnectorCertificateError", "SSLCertVerificationError"})
TLS_ERRORS = frozenset({"ClientConnectorSSLError", "SSLError"})
CONNECT_ERRORS = frozenset(
    {
        "ClientConnectorError", "ConnectError", "ConnectionRefusedError",
    }
)  # fmt: skip
PROXY_ERRORS = frozenset({"ClientProxyConnectionError", "ProxyError"})
BROKEN_STREAMS = frozenset(
    {
        "BrokenPipeError", "ClientPayloadError", "ConnectionAbortedError", "ConnectionResetError",
        "IncompleteReadError", "ReadError", "RemoteProtocolError", "TransferEncodingError",
    }
)  # fmt: skip
GARBLED = frozenset({"DecodingError", "JSONDecodeError", "UnicodeDecodeError", "Unreadable"})
CUT_SHORT = re.compile(r"before any terminal event", re.IGNORECASE)
UNREADABLE = re.compile(r"(error parsing|failed to decode).{0,20}chunk", re.IGNORECASE)
RETRY_DELAY = re.compile(r"""(?:retryDelay[\\"']*:\s*[\\"']*|(?:retry|try again) in )(\d+(?:\.\d+)?)s""")

_Verdict = tuple[FailureKind, str]


class _Answer(Value):
    """What is known of the server's answer.

    `seen` is the status on the wire, None in the middle of a stream; `status` is that or the one litellm made
    up. `quote` is the server's own short message, `wait_s` its Retry-After in seconds, `moved_to` the address
    to which it redirects, as `scheme://host:port`.
    """

    seen: int | None
    status: int | None
    words: str
    quote: str
    wait_s: float | None
    moved_to: str

    @property
    def in_brackets(self) -> str:
        return f" ({self.seen})" if self.seen is not None else ""

    @property
    def in_quotes(self) -> str:
        return f" It says: “{self.quote}”" if self.quote else ""


def classify(
    error: BaseException,
    *,
    model: str,
    provider: str,
    api_base: str | None,
    secrets: tuple[str, ...] = (),
    key_name: str | None = None,
    address_setting: str = "",
) -> ModelError:
    """The meaning for the user of `error`, which litellm raised for a request to `model`.

    `provider` is litellm's name of it, `api_base` the address in use if it is not the provider's own, and
    `key_name` that of the key if it is not the provider's usual one. `secrets` are the keys in use; none of
    them is in the result. `address_setting` is as in `ModelRequest`. Never raises.
    """
    chain = tuple(_chain(error))
    request = Request(model, provider, api_base, key_name, address_setting)
    words = "\n".join(
        f"{type(link).__module__}.{type(link).__qualname__}: {str(link)[:TEXT_LIMIT]}" for link in chain
    )
    status, headers = _answer(chain)
    wait = _retry_after(headers, words)
    if status is None:
        found = _by_connection(chain, words, request) or _by_words(words, request)
    else:
        found = _by_words(words, request)
    if found is None:
        said = _Answer(
            status,
            status or _library_status(chain),
            words,
            server_message(chain, secrets),
            wait,
            _origin(headers.get("location", "")),
        )
        found = _by_status(said, request)
    kind, message = found
    return ModelError(
        kind,
        scrub(message[:1].upper() + message[1:], secrets),
        detail=scrub(words, secrets)[:DETAIL_LIMIT],
        status=status,
        retry_after_s=wait,
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """`error` and its causes in order; also the error that litellm wraps in an attribute."""
    seen: list[BaseException] = []
    queue: list[BaseException | None] = [error]
    while queue and len(seen) < CHAIN_LIMIT:
        link = queue.pop(0)
        if link is None or link in seen:
            continue
        seen.append(link)
        yield link
        wrapped = getattr(link, "original_exception", None)
        queue += [wrapped if isinstance(wrapped, BaseException) else None, link.__cause__, link.__context__]


def _answer(chain: tuple[BaseException, ...]) -> tuple[int | None, Mapping[str, str]]:
    """Status and headers of the server's answer, or (None, {}) if it gave none."""
    for link in chain:
        if "HTTPStatusError" in type(link).__name__:
            response = getattr(link, "response", None)
            status = getattr(response, "status_code", None)
            if isinstance(status, int):
                return status, getattr(response, "headers", None) or {}
    return None, {}


def _origin(address: str) -> str:
    """The beginning of an address; its path and its query may hold what is secret."""
    try:
        parts = urlsplit(address)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}{port}" if parts.hostname else ""


def _library_status(chain: tuple[BaseException, ...]) -> int | None:
    """The status that litellm assigned, the innermost first: outer ones are more often made up."""
    for link in reversed(chain):
        name, status = type(link).__name__, getattr(link, "status_code", None)
        if name == "HttpProcessingError":
            return 500  # what came is not HTTP
        # litellm takes every text about Gemini that contains 403, such as a port, for a refusal.
        if isinstance(status, int) and status >= 400 and (name, status) != ("BadRequestError", 403):
            return status
    return None


def _by_words(words: str, request: Request) -> _Verdict | None:
    """Classify failures that have a text of their own and no status, or a misleading one."""
    if NO_KEY.search(words):
        return FailureKind.NO_KEY, explain(KeyProblem.MISSING, request.provider, request.key_name)
    if WRONG_KEY.search(words):
        return FailureKind.WRONG_KEY, request.refused_key
    if NO_CREDIT.search(words):
        return (
            FailureKind.WRONG_KEY,
            f"{request.where} says that the account of this key has no credit left: top it up, or {ANOTHER}.",
        )
    if "LLM Provider NOT provided" in words:
        return (
            FailureKind.UNKNOWN_MODEL,
            f"It is not clear which provider serves “{request.model}”: name it first, "
            "as in --model openai/gpt-5.1 or --model ollama/llama3.",
        )
    if missing := re.search(r"No module named '([\w.]+)'", words):
        return (
            FailureKind.UNKNOWN,
            f"The model library needs the Python package “{missing[1]}” for {request.model}: "
            f"install it beside Caesura, or {ANOTHER}.",
        )
    return None


def _by_connection(chain: tuple[BaseException, ...], words: str, request: Request) -> _Verdict | None:
    """Classify a failure of the connection, if the server gave no answer on it."""
    names = {type(link).__name__ for link in chain}
    where, check = request.where, request.check_address
    if names & DNS_ERRORS:
        return (
            FailureKind.NAME_NOT_FOUND,
            f"{where} cannot be reached, its host name was not found: {check}.",
        )
    if names & TIMEOUTS:
        return FailureKind.TIMED_OUT, f"{where} took too long to answer: {SEND_AGAIN}."
    if names & CERTIFICATE_ERRORS:
        return (
            FailureKind.UNTRUSTED,
            f"The certificate of {where} was not accepted: if it is your organization's own, name its file "
            f"as `ca_file` where the settings name the server; else {check}.",
        )
    if names & TLS_ERRORS:
        return (
            FailureKind.UNREACHABLE,
            f"{where} cannot be reached: it does not answer as https does. Does its address begin with http? "
            f"Else {check}.",
        )
    if names & PROXY_ERRORS:
        return (
            FailureKind.UNREACHABLE,
            f"The proxy on the way to {where} refused the connection: check `proxy` of the server in the "
            "settings, or HTTP_PROXY, HTTPS_PROXY and NO_PROXY in the environment.",
        )
    if names & CONNECT_ERRORS:
        return FailureKind.UNREACHABLE, f"{where} cannot be reached: {check}."
    if "WebPage" in names:
        return FailureKind.WEB_PAGE, f"{where} answered with a web page: {check}."
    if "ServerDisconnectedError" in names or "without sending a response" in words:
        return FailureKind.BROKEN_STREAM, f"{where} hung up without an answer: {SEND_AGAIN}, or {check}."
    if names & GARBLED or UNREADABLE.search(words):
        return FailureKind.BROKEN_STREAM, str(unreadable(request.model))
    if names & BROKEN_STREAMS or CUT_SHORT.search(words):
        return FailureKind.BROKEN_STREAM, str(cut_short(request.model))
    return None


def _by_status(said: _Answer, request: Request) -> _Verdict:
    """Classify by the answer's status, quoting the server's text where it helps."""
    where, model, quote = request.where, request.model, said.in_quotes
    match said.status:
        case 301 | 302 | 303 | 307 | 308:
            return FailureKind.REDIRECTED, request.redirected(said.moved_to, said.in_brackets)
        case 401:
            return FailureKind.WRONG_KEY, request.refused_key
        case 402:
            return FailureKind.WRONG_KEY, f"{where} wants to be paid for {model}: top the account up.{quote}"
        case 403:
            return FailureKind.WRONG_KEY, f"{where} does not let this key use {model}: {ANOTHER}.{quote}"
        case 404:
            return _by_absence(said, request)
        case 408 | 504:
            return FailureKind.TIMED_OUT, f"{where} took too long to answer: {SEND_AGAIN}."
        case 413:
            return FailureKind.CONTEXT_TOO_LONG, request.too_long
        case 429:
            wait = "a little" if said.wait_s is None else f"{math.ceil(said.wait_s)} s"
            return (
                FailureKind.RATE_LIMITED,
                f"{where} limits how often {model} may be asked: wait {wait}, then {SEND_AGAIN}.{quote}",
            )
        case int(status) if status < 500:
            return _by_rejection(said, request)
        case None:
            return (
                FailureKind.UNKNOWN,
                f"The request to {where} failed: {SEND_AGAIN}; worker.log in the state folder says more.",
            )
        case _:
            return _by_server_failure(said, request)


def _by_absence(said: _Answer, request: Request) -> _Verdict:
    """Classify a 404: of a server of the person's own, it may mean its path as well as the model."""
    if not request.api_base:
        return FailureKind.UNKNOWN_MODEL, request.unknown_model
    is_of_model = UNKNOWN_MODEL.search(said.words) or ABOUT_MODEL.search(said.quote)
    words = request.unknown_model if is_of_model else request.nothing_there
    return FailureKind.UNKNOWN_MODEL, f"{words}{said.in_quotes}"


def _by_rejection(said: _Answer, request: Request) -> _Verdict:
    if "unexpected response from Ollama" in said.words:  # litellm's 400 for an error inside Ollama's stream
        return FailureKind.SERVER_ERROR, f"Ollama stopped with an error: {SEND_AGAIN}."
    if CONTEXT_TOO_LONG.search(said.words):
        return FailureKind.CONTEXT_TOO_LONG, request.too_long
    if UNKNOWN_MODEL.search(said.words):
        return FailureKind.UNKNOWN_MODEL, request.unknown_model
    return (
        FailureKind.BAD_REQUEST,
        f"{request.where} rejected the request{said.in_brackets}: change it or {ANOTHER}.{said.in_quotes}",
    )


def _by_server_failure(said: _Answer, request: Request) -> _Verdict:
    if CONTEXT_TOO_LONG.search(said.words):
        return FailureKind.CONTEXT_TOO_LONG, request.too_long
    says_so = OVERLOADED.search(said.words) is not None
    if says_so or said.status in (503, 529):
        # A server may say something else by that, such as that it still loads the model.
        why = "" if says_so else said.in_quotes
        return (
            FailureKind.OVERLOADED,
            f"{request.where} is overloaded at the moment: {SEND_AGAIN} in a minute, or {ANOTHER}.{why}",
        )
    return (
        FailureKind.SERVER_ERROR,
        f"{request.where} failed on its side{said.in_brackets}: {SEND_AGAIN}, or {ANOTHER}.{said.in_quotes}",
    )


def _retry_after(headers: Mapping[str, str], words: str) -> float | None:
    """The wait that the server asked for, in seconds: from its headers, else from the text of its answer."""
    found = RETRY_DELAY.search(words)
    wait = _wait_in(headers)
    if wait is None and found is not None:
        wait = float(found[1])
    # A header can also say 1e999.
    return wait if wait is not None and math.isfinite(wait) else None


def _wait_in(headers: Mapping[str, str]) -> float | None:
    milliseconds, value = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        if milliseconds:
            return max(0.0, float(milliseconds) / 1000)
        if value and value.strip()[:1].isdigit():
            return max(0.0, float(value))
        if value:
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
    return None
