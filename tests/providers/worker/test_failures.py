"""litellm's failures, for real, over six protocols; and that no error ever tells a key."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.model.provider import FailureKind, ModelError
from providers.keys.names import KeyProblem
from providers.worker.errors import failures
from providers.worker.errors.classification import classify
from providers.worker.errors.redaction import QUOTE_LIMIT, scrub, server_message
from tests.providers.worker.litellm_failures import FAULTS, SECRET, Outcome
from tests.servers.registry import PROTOCOLS
from tests.support.waiting import GENEROUS_S

EXPECTED = {
    "BAD_REQUEST": FailureKind.BAD_REQUEST,
    "CONTEXT_TOO_LONG": FailureKind.CONTEXT_TOO_LONG,
    "WRONG_KEY": FailureKind.WRONG_KEY,
    "UNKNOWN_MODEL": FailureKind.UNKNOWN_MODEL,
    "RATE_LIMITED": FailureKind.RATE_LIMITED,
    "RATE_LIMITED_FOR_7_S": FailureKind.RATE_LIMITED,
    "SERVER_ERROR": FailureKind.SERVER_ERROR,
    "OVERLOADED": FailureKind.OVERLOADED,
    "402": FailureKind.WRONG_KEY,
    "403": FailureKind.WRONG_KEY,
    "413": FailureKind.CONTEXT_TOO_LONG,
    "503": FailureKind.OVERLOADED,
    "529": FailureKind.OVERLOADED,
    "ERROR_EVENT": FailureKind.OVERLOADED,
    "CUT": FailureKind.BROKEN_STREAM,
    "RESET": FailureKind.BROKEN_STREAM,
    "SILENCE": FailureKind.TIMED_OUT,
    "REFUSED": FailureKind.UNREACHABLE,
    "NO_NAME": FailureKind.NAME_NOT_FOUND,
    "NO_HTTP": FailureKind.SERVER_ERROR,
}
LITTLE_SAID = {
    # litellm keeps only the fact of an error from Ollama's stream.
    ("litellm", "ollama", "ERROR_EVENT"): FailureKind.SERVER_ERROR,
    # To httpx, half a head and the end of the connection are no answer at all.
    ("litellm", "azure", "NO_HTTP"): FailureKind.BROKEN_STREAM,
    **{("own", protocol, "NO_HTTP"): FailureKind.BROKEN_STREAM for protocol in PROTOCOLS},
}

CASES = [(protocol, case, kind) for protocol in PROTOCOLS for case, kind in EXPECTED.items()]


@pytest.fixture(scope="module", params=["own", "litellm"])
def reader(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def outcomes(reader: str) -> dict[tuple[str, str], Outcome]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().endswith(("_KEY", "_BASE", "_URL", "_TOKEN", "_PROXY"))
    }
    ran = subprocess.run(
        [sys.executable, "-m", "tests.providers.worker.litellm_failures", reader],
        env=environment,
        capture_output=True,
        text=True,
        timeout=10 * GENEROUS_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found = [Outcome(**fields) for fields in json.loads(ran.stdout)]
    return {(one.protocol, one.case): one for one in found}


@pytest.mark.promise("P6")
@pytest.mark.parametrize(("protocol", "case", "kind"), CASES)
def test_each_failure_has_its_kind(
    outcomes: dict[tuple[str, str], Outcome], reader: str, protocol: str, case: str, kind: FailureKind
) -> None:
    kind = LITTLE_SAID.get((reader, protocol, case), kind)
    assert outcomes[protocol, case].kind == kind, outcomes[protocol, case].detail


def test_every_fault_is_expected() -> None:
    assert set(FAULTS) <= set(EXPECTED)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_retry_after_is_found(outcomes: dict[tuple[str, str], Outcome], protocol: str) -> None:
    limited = outcomes[protocol, "RATE_LIMITED_FOR_7_S"]
    assert limited.retry_after_s == 7.0
    assert limited.status == 429
    assert "wait 7 s" in limited.message


@pytest.mark.parametrize(
    ("protocol", "quoted"),
    [
        ("openai", "decimal above maximum value. Expected a value <= 2"),
        ("anthropic", "max_tokens: must be greater than or equal to 1"),
        ("gemini", "Invalid value at 'generation_config.temperature'"),
        ("ollama", "temperature must be a number"),
        ("responses", "decimal above maximum value. Expected a value <= 2"),
    ],
)
def test_a_rejection_quotes_the_server(
    outcomes: dict[tuple[str, str], Outcome], protocol: str, quoted: str
) -> None:
    assert quoted in outcomes[protocol, "BAD_REQUEST"].message


def test_no_error_tells_the_key_or_names_the_library(outcomes: dict[tuple[str, str], Outcome]) -> None:
    for outcome in outcomes.values():
        assert SECRET not in outcome.message + outcome.detail
        assert "sk-wrong" not in outcome.message
        assert "litellm" not in outcome.message.lower()
        assert "\n" not in outcome.message
        assert len(outcome.message) < 200 + QUOTE_LIMIT


def test_what_is_missing_is_named(outcomes: dict[tuple[str, str], Outcome]) -> None:
    assert outcomes["openai", "NO_PROVIDER"].kind == FailureKind.UNKNOWN_MODEL
    assert outcomes["openai", "NO_PROVIDER"].message.startswith(
        "It is not clear which provider serves “no-such-model”: name it first, "
    )
    assert " cannot be reached, its host name was not found" in outcomes["openai", "NO_NAME"].message
    # OpenAI's handler would send the request without a key; the key finder is what notices there.
    for provider, variable in (("anthropic", "ANTHROPIC_API_KEY"), ("gemini", "GEMINI_API_KEY")):
        assert outcomes[provider, "NO_KEY"].kind == FailureKind.NO_KEY
        assert variable in outcomes[provider, "NO_KEY"].message


def test_the_demo_works_through_litellm(outcomes: dict[tuple[str, str], Outcome]) -> None:
    assert outcomes["demo", "hello"].kind is None
    assert outcomes["demo", "think"].kind is None
    assert outcomes["demo", "error"].kind == FailureKind.SERVER_ERROR
    assert "This failure is scripted" in outcomes["demo", "error"].message
    assert outcomes["demo", "cut"].kind == FailureKind.BROKEN_STREAM


def failure(error: BaseException) -> ModelError:
    return classify(error, model="openai/gpt-5.1", provider="openai", api_base=None, secrets=("hush-hush",))


def test_our_own_time_limit_is_a_time_out() -> None:
    assert failure(TimeoutError()).kind is FailureKind.TIMED_OUT


def test_a_cause_counts_more_than_what_it_was_wrapped_in() -> None:
    outer = RuntimeError("litellm.InternalServerError: Connection error.")
    outer.__cause__ = ConnectionRefusedError("refused")
    assert failure(outer).kind is FailureKind.UNREACHABLE


def test_a_number_in_a_text_is_no_status() -> None:
    made_up = type("BadRequestError", (Exception,), {"status_code": 403})("it was sent to port 40317")
    made_up.__cause__ = ValueError("no answer from port 40317")
    assert failure(made_up).kind is FailureKind.UNKNOWN


def test_a_circle_of_causes_ends() -> None:
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first
    assert failure(first).kind is FailureKind.UNKNOWN


@pytest.mark.parametrize(
    "leak",
    [
        "sk-proj-abcdefghijkl1234567890",
        "sk-ant-api03-AAAA1111bbbb",
        "sk-ab***************cd12",
        "AIzaSyA1234567890abcdefghijklmnopqrstuv",
        "gsk_1234567890abcdef",
        "hush-hush",
        "0123456789abcdef0123456789abcdef",
    ],
)
def test_keys_are_scrubbed(leak: str) -> None:
    for text in (leak, f"key={leak}.", f'{{"api_key": "{leak}"}}', f"https://x.example/?key={leak}&a=b"):
        said = failure(RuntimeError(f"what {text}"))
        assert leak not in said.detail
        assert leak not in str(said)
    assert leak not in scrub(f"http://user:{leak}@host/v1", ("hush-hush",))


def test_scrubbing_leaves_ordinary_words() -> None:
    ordinary = "The model openai/gpt-4o-mini-2026-01-31 skipped keyboard-layout at http://127.0.0.1:8080/v1"
    assert scrub(ordinary) == ordinary


@settings(deadline=None)
@given(st.text(), st.text())
def test_classifying_never_raises(words: str, inner: str) -> None:
    error = RuntimeError(f'b\'{words}\' {{"message": "{inner}"}}')
    quote = server_message((error,), ())
    assert len(quote) <= QUOTE_LIMIT
    assert quote.isprintable()
    failure(error)


def test_other_failures_say_what_to_do() -> None:
    assert failures.no_key(KeyProblem.KEYRING_LOCKED, "anthropic").kind is FailureKind.NO_KEY
    assert failures.cut_short("a/b").kind is FailureKind.BROKEN_STREAM
    assert failures.unreadable("a/b", "{").kind is FailureKind.BROKEN_STREAM
    assert failures.too_large("a/b").kind is FailureKind.TOO_LARGE


@pytest.mark.promise("P6")
def test_a_server_of_ones_own_says_that_a_prompt_is_too_long_or_that_it_loads() -> None:
    """llama.cpp's words. What it means by a status alone is not known."""
    error = RuntimeError(
        "request (9 tokens) exceeds the available context size (4 tokens), try increasing it"
    )
    error.status_code = 400  # type: ignore[attr-defined]
    assert failure(error).kind is FailureKind.CONTEXT_TOO_LONG
    error = RuntimeError('{"error": {"message": "Loading model"}}')
    error.status_code = 503  # type: ignore[attr-defined]
    assert failure(error).kind is FailureKind.OVERLOADED
    assert "Loading model" in str(failure(error))


@pytest.mark.parametrize("header", ["1e999", "nan", "Mon, 01 Jan 99999999 00:00:00 GMT"])
def test_a_wait_without_sense_is_none(header: str) -> None:
    error = RuntimeError("too many requests")
    error.status_code = 429  # type: ignore[attr-defined]
    error.litellm_response_headers = {"retry-after": header}  # type: ignore[attr-defined]
    failure = classify(error, model="openai/x", provider="openai", api_base=None)
    assert failure.retry_after_s is None


@pytest.mark.parametrize("before", ["", "u", "us", "user:"])
def test_a_key_is_recognised_in_what_servers_make_of_it(before: str) -> None:
    key = "sk/7c41+e9d2=b8&c5"
    whole = f"{before}{key}:after"
    echoed = [
        whole,
        quote(whole, safe=""),
        json.dumps(whole).replace("/", "\\/"),
        base64.b64encode(whole.encode()).decode(),
        base64.urlsafe_b64encode(whole.encode()).decode(),
        whole.encode().hex(),
    ]
    for text in echoed:
        assert "[key]" in scrub(f"you sent {text} to us", (key,)), text
        assert key[3:-3] not in scrub(text, (key,))
