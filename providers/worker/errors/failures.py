"""Failures that no exception tells, and the sentences about a failed request that verdicts share.

They say who answered, what happened and what to do next. None of them may hold a key.
"""

from __future__ import annotations

from core.base.secrets import without_login
from core.base.values import Value
from core.model.provider import FailureKind, ModelError
from providers.catalog import title_of
from providers.keys.names import KeyProblem, cli_name, explain, key_variables
from providers.worker.errors.redaction import scrub

DETAIL_LIMIT = 4_000

OLLAMAS = frozenset({"ollama", "ollama_chat"})
BELOW_V1 = frozenset({"openai", "litellm_proxy", "hosted_vllm", "lm_studio"})
"""Protocols whose addresses usually end with /v1."""

SEND_AGAIN = "send the prompt again"
ANOTHER = "choose another model with /model or --model"


class Request(Value):
    """The facts about the failed request that the sentences need."""

    model: str
    provider: str
    api_base: str | None
    key_name: str | None = None
    address_setting: str = ""

    @property
    def where(self) -> str:
        """Who answers: the provider, or the server at an address of the person's own, which is rarely the
        vendor whose protocol it speaks."""
        if not self.api_base:
            return title_of(self.provider)
        name = "Ollama" if self.provider in OLLAMAS else "The server"
        return f"{name} at {without_login(self.api_base)}"

    @property
    def address_from(self) -> str:
        """Where a person has set the address: a setting, or else a variable or an option."""
        if self.address_setting:
            return f"`{self.address_setting}`"
        return "OLLAMA_API_BASE" if self.provider in OLLAMAS else "--api-base"

    @property
    def check_address(self) -> str:
        if self.provider in OLLAMAS:
            return f"check that it runs (`ollama serve`) and that {self.address_from} is right"
        if self.api_base:
            return f"check that the server runs and that its address is right ({self.address_from})"
        return "check your network connection and proxy"

    @property
    def refused_key(self) -> str:
        if self.key_name == "":
            return f"{self.where} wants a key: name one as `key` where the settings name the server."
        variable = self.key_name or key_variables(self.provider)[0]
        return (
            f"{self.where} refused the key: store another one with `caesura keys set {cli_name(variable)}`, "
            f"or check {variable} in the environment."
        )

    @property
    def unknown_model(self) -> str:
        if self.provider in OLLAMAS:
            name = self.model.partition("/")[2] or self.model
            return f"Ollama does not have {self.model}: fetch it with `ollama pull {name}`, or {ANOTHER}."
        return f"{self.where} does not know {self.model}: check the spelling, or {ANOTHER}."

    @property
    def nothing_there(self) -> str:
        path = (self.api_base or "").rstrip("/")
        hint = " (does it lack /v1?)" if self.provider in BELOW_V1 and not path.endswith("/v1") else ""
        return f"{self.where} has nothing there (404): check {self.address_from}{hint}, or {ANOTHER}."

    def redirected(self, address: str, status: str) -> str:
        return (
            f"{self.where} redirects to {address or 'another address'}{status}. Caesura does not follow "
            "redirects, so that your key and the conversation go nowhere else: if that address is right, set "
            f"it as the address of the server ({self.address_from})."
        )

    @property
    def too_long(self) -> str:
        return f"The conversation is too long for {self.model}: start a new one, or {ANOTHER}."


def no_key(problem: KeyProblem, provider: str, key_name: str | None = None) -> ModelError:
    """The failure of a request that was not sent because there is no key for it."""
    return ModelError(FailureKind.NO_KEY, explain(problem, provider, key_name))


def empty_answer(model: str, api_base: str | None, provider: str, address_setting: str = "") -> ModelError:
    """The failure of a reply without a single byte."""
    request = Request(model, provider, api_base, address_setting=address_setting)
    return ModelError(
        FailureKind.BROKEN_STREAM,
        f"{request.where} sent an empty answer: {SEND_AGAIN}, or {request.check_address}.",
    )


def no_certificates(ca_file: str, why: str) -> ModelError:
    """The failure of a request to a server whose certificates cannot be read."""
    return ModelError(
        FailureKind.BAD_REQUEST,
        f"The file of certificates {ca_file} cannot be read: check `ca_file` of the server in the settings.",
        detail=why,
    )


def no_network(why: str) -> ModelError:
    """The failure of every request while the network settings cannot be used."""
    return ModelError(
        FailureKind.BAD_REQUEST,
        f"The network settings cannot be used ({why}): check `proxy` of the server in the settings, and "
        "SSL_CERT_FILE, SSL_CERT_DIR, ALL_PROXY, HTTP_PROXY, HTTPS_PROXY and NO_PROXY in the environment. "
        "Then start Caesura again.",
    )


def half_request() -> ModelError:
    """The failure of a stream whose request did not come from the compiler as a whole: nothing was sent."""
    return ModelError(
        FailureKind.PROCESS_DIED,
        "The process that prepares requests ended, twice: look into worker.log in the state folder, then "
        "send the prompt again.",
    )


def cut_short(model: str) -> ModelError:
    """The failure of a stream that ended without its end mark."""
    return ModelError(FailureKind.BROKEN_STREAM, f"The reply of {model} broke off: {SEND_AGAIN}.")


def unreadable(model: str, detail: str = "") -> ModelError:
    """The failure of a stream that violated its protocol."""
    message = f"The reply of {model} contains what cannot be read: {SEND_AGAIN}."
    return ModelError(FailureKind.BROKEN_STREAM, message, detail=scrub(detail)[:DETAIL_LIMIT])


def too_large(model: str) -> ModelError:
    """The failure of a stream that was cut because it exceeded the size limit."""
    return ModelError(
        FailureKind.TOO_LARGE,
        f"The reply of {model} was cut because it grew too large: {SEND_AGAIN}, or {ANOTHER}.",
    )
