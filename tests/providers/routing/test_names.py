"""What names of models mean, what is known of them, and what is wrong with settings that make no sense."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.model.messages import FinishReason
from core.model.provider import (
    Effort,
    Emit,
    FailureKind,
    Finished,
    ModelError,
    ModelInfo,
    ModelRequest,
    Offer,
    OfferKind,
    Parameters,
    ParametersDropped,
)
from core.model.settings import ModelSettings, NamedModel, Route, ServerAddress
from providers.routing.attempts import AllFailed
from providers.routing.routes import MAX_MEMBERS, check_routes
from tests.providers.routing.routed import Hourglass, Listened, Stage, router

if TYPE_CHECKING:
    from core.cancel import CancelToken

TEAM = ServerAddress("litellm_proxy", "https://llm.example.com", "v2", "TEAM_KEY")
CAREFUL = NamedModel("team/gpt-5.1", effort=Effort.HIGH, temperature=0.1)
SETTINGS = ModelSettings(
    providers={"team": TEAM, "bare": ServerAddress(), "local": ServerAddress(api_base="http://l")},
    models={
        "careful": CAREFUL,
        "own": NamedModel("openai/gpt-4o", context_window=5, api_base="http://127.0.0.1:1", key="OWN_KEY"),
        "openai/o9": NamedModel("openai/o9", max_output=7),
        "keyless": NamedModel("team/x", api_base="http://other"),
        "elsewhere": NamedModel("team/x", api_base="http://other", key="OTHER_KEY"),
    },
    routes={
        "quick": Route(model="careful", retries=5),
        "fast": Route(rotate=("careful", "groq/x")),
        "both": Route(fallback=("fast", "own")),
    },
)


async def answer(request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
    return Finished(FinishReason.STOP, None, "server's name")


async def sent(model: str, **more: object) -> tuple[ModelRequest, Finished]:
    stage = Stage(answer)
    request = ModelRequest(model, (), **more)  # type: ignore[arg-type]
    finished = await Listened(router(stage, SETTINGS), model, request=request).finished()
    (asked,) = stage.requests
    return asked, finished


@pytest.mark.parametrize(
    ("name", "expected", "answered_by"),
    [
        ("anthropic/claude", ModelRequest("anthropic/claude", ()), ""),
        ("gpt-4o", ModelRequest("gpt-4o", ()), ""),
        (
            "team/meta/llama",
            ModelRequest(
                "litellm_proxy/meta/llama",
                (),
                api_base="https://llm.example.com",
                key_name="TEAM_KEY",
                api_version="v2",
                address_setting="[providers.team] api_base",
            ),
            "",
        ),
        (
            "quick",
            ModelRequest(
                "litellm_proxy/gpt-5.1",
                (),
                api_base="https://llm.example.com",
                key_name="TEAM_KEY",
                api_version="v2",
                parameters=CAREFUL.parameters,
                address_setting="[providers.team] api_base",
            ),
            "careful",
        ),
        ("bare/x", ModelRequest("openai/x", ()), ""),
        # Neither the usual key nor another server's goes to an address of its own.
        (
            "local/x",
            ModelRequest(
                "openai/x",
                (),
                api_base="http://l",
                key_name="",
                address_setting="[providers.local] api_base",
            ),
            "",
        ),
        (
            "keyless",
            ModelRequest(
                "litellm_proxy/x",
                (),
                api_base="http://other",
                key_name="",
                api_version="v2",
                address_setting="[models.keyless] api_base",
            ),
            "",
        ),
        (
            "own",
            ModelRequest(
                "openai/gpt-4o",
                (),
                api_base="http://127.0.0.1:1",
                key_name="OWN_KEY",
                address_setting="[models.own] api_base",
            ),
            "",
        ),
        ("openai/o9", ModelRequest("openai/o9", (), parameters=Parameters(max_output=7)), ""),
        (
            "elsewhere",
            ModelRequest(
                "litellm_proxy/x",
                (),
                api_base="http://other",
                key_name="OTHER_KEY",
                api_version="v2",
                address_setting="[models.elsewhere] api_base",
            ),
            "",
        ),
    ],
)
async def test_a_name_becomes_a_request(name: str, expected: ModelRequest, answered_by: str) -> None:
    asked, finished = await sent(name)
    assert asked == expected
    assert finished == Finished(FinishReason.STOP, None, "server's name", answered_by)


async def test_what_the_request_says_itself_goes_first() -> None:
    asked, _ = await sent("careful", parameters=Parameters(effort=Effort.LOW, top_p=0.5))
    assert asked.parameters == Parameters(effort=Effort.LOW, top_p=0.5, temperature=0.1)


async def test_an_address_goes_with_a_model_that_has_none_and_with_no_route() -> None:
    assert (await sent("openai/x", api_base="http://here"))[0].api_base == "http://here"
    assert (await sent("own", api_base="http://here"))[0].api_base == "http://127.0.0.1:1"
    settings = ModelSettings(routes={"r": Route(model="openai/x")})
    stage = Stage(answer)
    request = ModelRequest("r", (), api_base="http://here")
    await Listened(router(stage, settings), "r", request=request).finished()
    assert stage.requests[0].api_base is None


# ---- settings that make no sense

WRONG = [
    (Route(), "The route “r” needs exactly one of model, rotate and fallback; it has none of them."),
    (
        Route(rotate=("a/b",), fallback=("c/d",)),
        "The route “r” needs exactly one of model, rotate and fallback; it has rotate and fallback.",
    ),
    (Route(model="r"), "The routes go round in a circle: r → r. Take one of them out of the next."),
    (
        Route(rotate=("a/b", "s")),
        "The routes go round in a circle: r → s → t → r. Take one of them out of the next.",
    ),
    (
        Route(rotate=("carefull",)),
        "The route “r” names “carefull”, and there is no such route or model: did you mean “careful”?",
    ),
    (
        Route(model="gpt-4o"),
        "The route “r” names “gpt-4o”, and there is no such route or model: a provider's own is named as in "
        "openai/gpt-5.1.",
    ),
    (Route(model="team/"), "“team/” names a server and no model: add one, as in team/MODEL."),
    (
        Route(model="empty"),
        "The model “empty” says of no model what it is: set its `model`, as in openai/gpt-5.1.",
    ),
    (Route(model="routed"), "The model “routed” names the route “s”: only routes can name routes."),
    (
        Route(model="named"),
        "The model “named” names “careful”, which is one of [models] too: name a provider's model.",
    ),
]


def settings_with(route: Route) -> ModelSettings:
    return ModelSettings(
        providers={"team": TEAM},
        models={
            "careful": CAREFUL,
            "empty": NamedModel(""),
            "routed": NamedModel("s"),
            "named": NamedModel("careful"),
        },
        routes={"r": route, "s": Route(fallback=("t",)), "t": Route(model="r")},
    )


@pytest.mark.parametrize(("route", "sentence"), WRONG, ids=[sentence for _, sentence in WRONG])
@pytest.mark.promise("R1")
async def test_settings_that_make_no_sense_are_said_before_anything_is_sent(
    route: Route, sentence: str
) -> None:
    stage = Stage(answer)
    settings = settings_with(route)
    asking = router(stage, settings)
    failure = await Listened(asking, "r").failure()
    assert str(failure) == sentence
    assert failure.kind in (FailureKind.BAD_REQUEST, FailureKind.UNKNOWN_MODEL)
    assert sentence in check_routes(settings)
    assert stage.requests == []
    assert await asking.describe("r") == ModelInfo("r")
    offers = {offer.info.model: offer for offer in await asking.offers()}
    assert offers["r"] == Offer(ModelInfo("r"), OfferKind.ROUTE, usable=False)


def test_sound_settings_have_nothing_to_complain_of() -> None:
    assert check_routes(SETTINGS) == ()
    assert check_routes(ModelSettings()) == ()


def test_a_mistake_is_said_once_however_many_routes_meet_it() -> None:
    routes = {
        "a": Route(model="b"),
        "b": Route(rotate=("c", "x/y")),
        "c": Route(model="b"),
        "d": Route(model="a"),
    }
    assert check_routes(ModelSettings(routes=routes)) == (
        "The routes go round in a circle: b → c → b. Take one of them out of the next.",
    )
    both = ModelSettings(models={"x": CAREFUL}, routes={"x": Route(model="a/b")}, providers={"team": TEAM})
    assert check_routes(both) == ("“x” names a route and a model: rename one.",)


async def test_routes_that_grow_without_end_are_no_recursion() -> None:
    chain = {f"r{n}": Route(model=f"r{n + 1}") for n in range(5_000)} | {"r5000": Route(model="a/b")}
    doubling = {f"r{n}": Route(rotate=(f"r{n + 1}",) * 2) for n in range(60)} | {"r60": Route(model="a/b")}
    for routes in (chain, doubling):
        stage = Stage(answer)
        failure = await Listened(router(stage, ModelSettings(routes=routes)), "r0").failure()
        assert f"stands for more than {MAX_MEMBERS} models" in str(failure)
        assert stage.requests == []


async def test_new_settings_count_from_the_next_request_on() -> None:
    now = [ModelSettings(routes={"r": Route(rotate=("a/1", "a/2"))})]
    stage = Stage(answer)
    asking = router(stage, now[0])

    async def current() -> ModelSettings:
        return now[0]

    asking._settings = current
    await Listened(asking, "r").finished()
    # The same again, as a file that was read anew: whose turn it is stays.
    now[0] = ModelSettings(routes={"r": Route(rotate=("a/1", "a/2"))})
    await Listened(asking, "r").finished()
    now[0] = ModelSettings(routes={"r": Route(model="a/3")})
    await Listened(asking, "r").finished()
    assert stage.asked == ["a/1", "a/2", "a/3"]


# ---- what is known


async def test_the_settings_say_whether_models_of_a_server_see() -> None:
    servers = {"a": ServerAddress(images=True), "b": ServerAddress(images=False), "c": ServerAddress()}
    infos = {
        f"openai/{name}": info(f"openai/{name}", 1, vision=seen) for name, seen in (("x", None), ("y", True))
    }
    asking = router(Stage(answer, infos), ModelSettings(providers=servers))
    known = [(await asking.describe(f"{server}/{model}")).vision for server in "abc" for model in "xy"]
    assert known == [True, True, False, False, None, True]


def info(name: str, window: int | None, price: float | None = 1.0, **more: bool | None) -> ModelInfo:
    return ModelInfo(name, window, 10, price, 2.0, **more)  # type: ignore[arg-type]


INFOS = {
    "litellm_proxy/gpt-5.1": info("litellm_proxy/gpt-5.1", 100, tools=True, efforts=True, vision=None),
    "groq/x": info("groq/x", 50, tools=False, efforts=False, vision=True),
    "openai/gpt-4o": info("openai/gpt-4o", 80, 9.0, tools=True, vision=True),
}


async def test_what_is_known_of_a_route_is_what_holds_for_all_behind_it() -> None:
    asking = router(Stage(answer, INFOS), SETTINGS)
    fast = await asking.describe("fast")
    careful, groq = fast.members
    assert (careful.model, groq.model) == ("careful", "groq/x")
    assert fast == ModelInfo(
        "fast", 50, 10, 1.0, 2.0, tools=False, efforts=True, vision=None, members=(careful, groq)
    )
    both = await asking.describe("both")
    assert [member.model for member in both.members] == ["careful", "groq/x", "own"]
    assert (both.context_window, both.input_price, both.output_price) == (5, None, None)
    assert both.of("own").context_window == 5
    assert (await asking.describe("openai/o9")).max_output == 7
    assert await asking.describe("nobody/knows") == ModelInfo("nobody/knows")
    # A route to one model is that model, under the route's name.
    quick = await asking.describe("quick")
    assert (quick.model, quick.context_window, quick.of("careful").model) == ("quick", 100, "careful")


async def test_what_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Listing(Stage):
        async def offers(self) -> tuple[Offer, ...]:
            return (Offer(INFOS["groq/x"], OfferKind.CATALOG, usable=False),)

    monkeypatch.setenv("TEAM_KEY", "here")
    offers = await router(Listing(answer, INFOS), SETTINGS).offers()
    assert [(offer.info.model, offer.kind, offer.usable) for offer in offers] == [
        ("quick", OfferKind.ROUTE, True),
        ("fast", OfferKind.ROUTE, True),
        ("both", OfferKind.ROUTE, True),
        ("careful", OfferKind.NAMED, True),
        ("own", OfferKind.NAMED, None),
        ("openai/o9", OfferKind.NAMED, None),
        ("keyless", OfferKind.NAMED, True),
        ("elsewhere", OfferKind.NAMED, None),
        ("groq/x", OfferKind.CATALOG, False),
    ]
    assert offers[0].info.model == "quick"


# ---- kinds of failure that no server of the tests has


async def test_a_conversation_that_is_too_long_goes_to_a_larger_model_if_one_is_known() -> None:
    async def play(request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        if request.model != "p/large":
            raise ModelError(FailureKind.CONTEXT_TOO_LONG, "Too long.")
        return await answer(request, token, emit)

    infos = {"p/small": info("p/small", 10), "p/same": info("p/same", 10), "p/large": info("p/large", 20)}
    routes = {
        "up": Route(fallback=("p/small", "p/unknown", "p/same", "p/large")),
        "down": Route(fallback=("p/small", "p/same", "p/unknown")),
        "unknown": Route(fallback=("p/unknown", "p/large")),
    }
    stage = Stage(play, infos)
    asking = router(stage, ModelSettings(routes=routes))
    assert (await Listened(asking, "up").finished()).answered_by == "p/large"
    assert stage.asked == ["p/small", "p/large"]
    for route in ("down", "unknown"):
        failure = await Listened(asking, route).failure()
        assert failure.kind is FailureKind.CONTEXT_TOO_LONG
        assert not isinstance(failure, AllFailed)
    assert stage.asked[2:] == ["p/small", "p/unknown"]


@pytest.mark.parametrize(("status", "asked"), [(None, 1), (504, 3)])
async def test_only_a_server_that_says_it_was_slow_is_asked_again(status: int | None, asked: int) -> None:
    async def play(request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        raise ModelError(FailureKind.TIMED_OUT, "Too slow.", status=status)

    stage = Stage(play)
    asking = router(stage, ModelSettings(), Hourglass(at_once=True))
    assert (await Listened(asking, "a/b").failure()).kind is FailureKind.TIMED_OUT
    assert len(stage.requests) == asked


async def test_each_refused_parameter_is_left_out_for_its_value_alone() -> None:
    refusals = {
        "top_p": "topP is out of range",
        "max_output": "max_completion_tokens: too many",
        "effort": "thinking",
    }

    async def play(request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        for name, words in refusals.items():
            if getattr(request.parameters, name) is not None:
                raise ModelError(FailureKind.BAD_REQUEST, "Rejected.", detail=words)
        return await answer(request, token, emit)

    stage = Stage(play)
    asking = router(stage, ModelSettings())

    async def ask(parameters: Parameters) -> list[ParametersDropped]:
        asked = Listened(asking, "a/b", request=ModelRequest("a/b", (), parameters=parameters))
        await asked.finished()
        return asked.of(ParametersDropped)

    everything = Parameters(Effort.HIGH, 0.5, 0.9, 100)
    dropped = [ParametersDropped("a/b", (name,)) for name in refusals]
    assert await ask(everything) == dropped
    assert stage.requests[-1].parameters == Parameters(temperature=0.5)
    assert await ask(everything) == []
    assert await ask(Parameters(Effort.LOW, 0.5, 0.9)) == dropped[2:]
    assert len(stage.requests) == 4 + 1 + 2


async def test_what_the_model_process_left_out_by_itself_is_said_once_and_in_the_persons_words() -> None:
    async def play(request: ModelRequest, token: CancelToken, emit: Emit) -> Finished:
        if request.parameters.top_p is not None:
            emit(ParametersDropped(request.model, ("top_p",)))
        return await answer(request, token, emit)

    stage = Stage(play)
    models = {"mine": NamedModel("a/b", top_p=0.5)}
    asking = router(stage, ModelSettings(models=models))
    first, second = Listened(asking, "mine"), Listened(asking, "mine")
    await first.finished()
    assert first.of(ParametersDropped) == [ParametersDropped("mine", ("top_p",))]
    await second.finished()
    third = Listened(asking, "mine")
    await third.finished()
    assert third.of(ParametersDropped) == []
