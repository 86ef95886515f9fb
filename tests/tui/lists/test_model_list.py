"""The list of models: what is found, what each key does, and that no key waits for three thousand models."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len

from core.base.errors import CaesuraError
from core.base.sanitize import printable
from core.model.directory import ServerModels
from core.model.provider import Effort, ModelInfo, Offer, OfferKind
from tests.support.snapshots import looks_right, pictures
from tests.tui.lists.stage import ListApp, ListStage
from tui.base.format import format_price, format_tokens
from tui.base.row import HintRow, Tone
from tui.lists.models.model_list import ModelList
from tui.lists.models.rows import (
    USE_AS_IT_IS,
    fact_lines,
    heads_line,
    model_line,
    model_rows,
    use_row,
)
from tui.lists.models.search import Entry, make_entry, ordered, parse_query, unknown_entries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.support.snapshots import SnapCompare

SONNET = ModelInfo(
    "anthropic/claude-sonnet-4-5",
    200_000,
    64_000,
    3e-6,
    15e-6,
    reasoning=True,
    tools=True,
    cached_input_price=3e-7,
    long_prompt=200_000,
    long_input_price=6e-6,
    long_cached_input_price=6e-7,
    long_output_price=22.5e-6,
    efforts=True,
    vision=True,
)
HAIKU = ModelInfo("anthropic/claude-haiku-3", 200_000, 4_096, 2.5e-7, 1.25e-6, False, True, efforts=False)
FLASH = ModelInfo("gemini/gemini-2.5-flash", 1_048_576, 65_536, 3e-7, 2.5e-6, True, True, vision=True)
GEMMA = ModelInfo("gemini/gemma-3-27b-it", 131_072, 8_192, 0.0, 0.0, tools=False)
GPT = ModelInfo("openai/gpt-5.1", 272_000, 128_000, 1.25e-6, 1e-5, True, True, efforts=True, vision=True)
LLAMA = ModelInfo("groq/llama-3.3-70b", 128_000, 32_768, 5.9e-7, 7.9e-7, tools=True)
LONG = ModelInfo("bedrock/eu-central-1.anthropic.claude-sonnet-4-5-20250929-v1:0", 200_000)
FAST = ModelInfo("fast", 128_000, 32_768, tools=True, members=(LLAMA, FLASH))

OFFERS = (
    Offer(FAST, OfferKind.ROUTE, usable=True),
    Offer(replace(SONNET, model="careful"), OfferKind.NAMED, usable=True),
    Offer(replace(GPT, model="team/gpt-5.1"), OfferKind.SERVER),
    Offer(LLAMA, OfferKind.CATALOG, usable=False),
    Offer(LONG, OfferKind.CATALOG),
    Offer(FLASH, OfferKind.CATALOG, usable=False),
    Offer(GEMMA, OfferKind.CATALOG, usable=False),
    Offer(SONNET, OfferKind.CATALOG, usable=True),
    Offer(HAIKU, OfferKind.CATALOG, usable=True),
    Offer(GPT, OfferKind.CATALOG, usable=True),
)


def many(count: int) -> tuple[Offer, ...]:
    return tuple(
        Offer(
            replace(SONNET, model=f"provider-{number % 90}/some-longer-name-of-a-model-{number}"),
            OfferKind.CATALOG,
            (True, None, False)[number % 3],
        )
        for number in range(count)
    )


@dataclass
class PlayedModels:
    current: str = "anthropic/claude-sonnet-4-5"
    effort: Effort | None = None
    favourites: tuple[str, ...] = ("openai/gpt-5.1", "ollama_chat/my-own")
    kept: tuple[Offer, ...] = OFFERS
    failure: CaesuraError | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    served: ServerModels = field(default_factory=ServerModels)
    server_gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def server_models(self) -> ServerModels:
        await self.server_gate.wait()
        return self.served

    async def offers(self) -> tuple[Offer, ...]:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return self.kept


class ModelApp(ListApp):
    def on_model_list_picked(self, message: ModelList.Picked) -> None:
        self.posted.append(message)

    def on_model_list_favourite_toggled(self, message: ModelList.FavouriteToggled) -> None:
        self.posted.append(message)


class ModelStage(ListStage):
    def __init__(self, models: PlayedModels) -> None:
        super().__init__(ModelApp())
        self.models = models

    @property
    def models_list(self) -> ModelList:
        return self.app.query_one(ModelList)

    @property
    def picked(self) -> list[tuple[str, Effort | None]]:
        return [(one.name, one.effort) for one in self.app.posted if isinstance(one, ModelList.Picked)]

    @property
    def from_catalog(self) -> list[bool]:
        return [one.from_catalog for one in self.app.posted if isinstance(one, ModelList.Picked)]

    @property
    def toggled(self) -> list[tuple[str, bool]]:
        return [(one.name, one.on) for one in self.app.posted if isinstance(one, ModelList.FavouriteToggled)]

    async def open(self, *, read: bool = True) -> None:
        self.app.lists.open(ModelList(self.models))
        await self.pilot.pause()
        if read:
            await self.read()

    async def read(self) -> None:
        self.models.gate.set()
        await self.until(lambda: self.models_list._entries is not None and "Reading…" not in self.text)


@asynccontextmanager
async def listed(
    size: tuple[int, int] = (80, 24), models: PlayedModels | None = None
) -> AsyncIterator[ModelStage]:
    async with ModelStage(models or PlayedModels()).running(size) as stage:
        yield stage


@pytest.fixture
async def stage() -> AsyncIterator[ModelStage]:
    """The list of models, read."""
    async with listed() as stage:
        await stage.open()
        yield stage


def found(query: str, offers: tuple[Offer, ...] = OFFERS) -> list[str]:
    asked = parse_query(query)
    return [entry.key for entry in ordered(map(make_entry, offers)) if asked.has(entry)]


# -- search and order --


def test_the_persons_own_come_first_and_providers_with_a_key_before_others() -> None:
    assert found("") == [
        "team/gpt-5.1",
        "fast",
        "careful",
        "anthropic/claude-haiku-3",
        "anthropic/claude-sonnet-4-5",
        "openai/gpt-5.1",
        LONG.model,
        "gemini/gemini-2.5-flash",
        "gemini/gemma-3-27b-it",
        "groq/llama-3.3-70b",
    ]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("GEMINI vision", ["gemini/gemini-2.5-flash"]),
        ("vision gemini", ["gemini/gemini-2.5-flash"]),
        ("free", ["gemini/gemma-3-27b-it"]),
        ("1m", ["gemini/gemini-2.5-flash"]),
        ("260k openai", ["openai/gpt-5.1"]),
        ("effort claude", ["anthropic/claude-sonnet-4-5"]),
        ("no key tools", ["gemini/gemini-2.5-flash", "groq/llama-3.3-70b"]),
        ("route", ["fast"]),
        ("llama", ["fast", "groq/llama-3.3-70b"]),
        ("reasoning named", ["careful"]),
        ("nothing-like-this", []),
    ],
)
def test_all_words_are_found_in_name_provider_and_abilities(query: str, names: list[str]) -> None:
    assert found(query) == names


def test_a_number_of_tokens_is_the_least_window_or_a_part_of_the_name() -> None:
    named = Offer(ModelInfo("moonshot/v1-128k"), OfferKind.CATALOG)
    wide = Offer(ModelInfo("zai/glm", 200_000), OfferKind.CATALOG)
    narrow = Offer(ModelInfo("zai/small", 32_000), OfferKind.CATALOG)
    assert found("128k", (named, wide, narrow)) == ["moonshot/v1-128k", "zai/glm"]


def test_a_name_that_comes_twice_means_its_first_owner() -> None:
    route = Offer(ModelInfo("gpt"), OfferKind.ROUTE)
    entries = ordered([make_entry(route), make_entry(Offer(ModelInfo("gpt"), OfferKind.CATALOG))])
    assert [entry.offer for entry in entries] == [route]


def test_a_favourite_that_no_catalogue_knows_is_listed() -> None:
    names = [offer.info.model for offer in OFFERS]
    entries = [*map(make_entry, OFFERS), *unknown_entries(names, ("x/unknown", "openai/gpt-5.1", ""))]
    rows = model_rows(ordered(entries), ("x/unknown", "openai/gpt-5.1"))
    assert rows[0] == HintRow("Favourites", Tone.MARK)
    assert [row.key for row in rows[1:3]] == ["x/unknown", "openai/gpt-5.1"]
    assert len([row for row in rows if row.key == "openai/gpt-5.1"]) == 1
    assert len([row for row in rows if isinstance(row, Entry)]) == len(OFFERS) + 1


# -- rows --


_NUMBERS = st.none() | st.integers(1, 10**15)
_PRICES = st.none() | st.floats(0, 1e6)


@given(
    name=st.text(min_size=1, max_size=90),
    window=_NUMBERS,
    output=_NUMBERS,
    price=_PRICES,
    other=_PRICES,
    usable=st.none() | st.booleans(),
    width=st.integers(8, 200),
)
def test_a_row_is_as_wide_as_the_list_whatever_a_server_calls_its_models(
    name: str,
    window: int | None,
    output: int | None,
    price: float | None,
    other: float | None,
    usable: bool | None,
    width: int,
) -> None:
    info = ModelInfo(
        name, window, output, price, other, True, True, price, other, window, price, other, price
    )
    offer = Offer(replace(info, members=(info,), vision=True), OfferKind.ROUTE, usable)
    entry = make_entry(offer)
    head = model_rows([replace(entry, group=name)], ())[0]
    for line in (
        model_line(entry, width, selected=True, current=name, favourites=(name,)),
        head.line(width, selected=False),
        use_row(name).line(width, selected=True),
    ):
        text = "".join(piece.text for piece in line)
        assert cell_len(text) == width
        assert printable(text) == text
        assert "\n" not in text
    assert cell_len(heads_line(width)) >= width
    for line in fact_lines(offer, width, 3):
        assert cell_len(line) <= width
        assert printable(line) == line


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ("local//home/ada/models/llama/gemma.gguf", "local/…/llama/gemma.gguf"),
        ("local//home/ada/models/gemma-3-27b-it-Q4.gguf", "…/gemma-3-27b-it-Q4.gguf"),
        ("local//models/gemma-3-27b-it-qat-Q4_K_M.gguf", "…3-27b-it-qat-Q4_K_M.gguf"),
        ("router/meta-llama/llama-3.3-70b", "router/…/llama-3.3-70b"),
    ],
)
async def test_of_a_path_the_name_of_the_file_is_shown(model: str, shown: str) -> None:
    async with listed(models=PlayedModels(kept=(Offer(ModelInfo(model), OfferKind.SERVER),))) as stage:
        await stage.open()
        assert f" {shown} " in stage.text
    (name, *_) = fact_lines(Offer(ModelInfo(f"local/{'/folder' * 20}/a.gguf"), OfferKind.SERVER), 76, 3)
    assert name.startswith("local/…/folder/")
    assert name.endswith("/folder/a.gguf")


def test_numbers_are_short() -> None:
    assert [
        format_tokens(count, decimals=2) for count in (1, 8_192, 128_000, 999_400, 999_900, 2_097_152)
    ] == [
        "1",
        "8.19k",
        "128k",
        "999k",
        "1M",
        "2.1M",
    ]
    assert [format_price(price) for price in (3e-6, 7.5e-8, 2.5e-6, 0.0, 1e-10, 0.15e-2, None)] == [
        "$3",
        "$0.075",
        "$2.5",
        "$0",
        "<$0.001",
        "$1500",
        "?",
    ]


# -- what is seen --


async def test_each_row_says_limits_prices_abilities_and_that_a_key_is_missing() -> None:
    async with listed((140, 45)) as stage:
        await stage.open()
        row = next(line for line in stage.text.split("\n") if "gemini-2.5-flash" in line)
        for words in ("1.05M", "65.5k", "$0.3/$2.5", "tools vision reasoning", "no key"):
            assert words in row
        assert "free" in next(line for line in stage.text.split("\n") if "gemma" in line)
        current = next(line for line in stage.text.split("\n") if "›" in line)
        assert "●" in current
        assert "current" in current
        assert "anthropic/claude-sonnet-4-5" in current
        assert "prompts above 200k: $6 in, $22.5 out, $0.6 cached" in stage.text
        await stage.press(*"fast")
        assert "asks groq/llama-3.3-70b, gemini/gemini-2.5-flash" in stage.text


async def test_letters_say_abilities_where_there_is_no_room_for_words(stage: ModelStage) -> None:
    row = next(line for line in stage.text.split("\n") if "›" in line)
    assert "T V E" in row
    assert "tools, vision, reasoning, effort" in stage.text


async def test_a_long_name_keeps_its_provider_and_its_end(stage: ModelStage) -> None:
    await stage.press(*"bedrock")
    assert "bedrock/…-5-20250929-v1:0" in stage.chosen


async def test_a_small_terminal_shows_the_rows_and_what_enter_does() -> None:
    async with listed((40, 10)) as stage:
        await stage.open()
        assert "claude-sonnet" in stage.chosen
        assert "Enter use it" in stage.text


# -- keys --


async def test_enter_picks_the_selected_one_once(stage: ModelStage) -> None:
    await stage.press(*"haiku")
    await stage.press("enter", "enter")
    assert stage.picked == [("anthropic/claude-haiku-3", None)]
    stage.models_list.fail("That cannot be used while a turn runs.")
    await stage.press("enter")
    assert "! That cannot be used" in stage.text
    assert len(stage.picked) == 2


async def test_what_is_typed_behind_enter_picks_nothing_else(stage: ModelStage) -> None:
    await stage.type_at_once(*"haiku", "enter", *"gemini")
    assert stage.picked == [("anthropic/claude-haiku-3", None)]


async def test_the_effort_goes_round_and_is_picked_with_the_model() -> None:
    async with listed(models=PlayedModels(effort=Effort.LOW)) as stage:
        await stage.open()
        await stage.press("ctrl+e")
        assert "^E effort medium" in stage.text
        await stage.press("enter")
        assert stage.picked == [("anthropic/claude-sonnet-4-5", Effort.MEDIUM)]
        await stage.press(*["ctrl+e"] * 2)
        assert "^E effort as usual" in stage.text


async def test_a_model_that_takes_no_effort_is_picked_without() -> None:
    async with listed(models=PlayedModels(effort=Effort.HIGH)) as stage:
        await stage.open()
        await stage.press(*"haiku", "ctrl+e")
        assert "^E" not in stage.text
        await stage.press("enter")
        assert stage.picked == [("anthropic/claude-haiku-3", None)]


async def test_a_favourite_is_marked_and_moves_when_the_words_change(stage: ModelStage) -> None:
    before = stage.models_list.rows.keys
    await stage.press(*["up"] * 2, "ctrl+f")
    name = stage.models_list.rows.selected
    assert stage.toggled == [(name, True)]
    assert "★" in stage.chosen
    assert stage.models_list.rows.keys == before
    await stage.press("ctrl+f", "ctrl+f", "x", "backspace")
    assert stage.toggled[1:] == [(name, False), (name, True)]
    assert stage.models_list.rows.keys[:3] == ("openai/gpt-5.1", "ollama_chat/my-own", name)


async def test_a_name_that_is_not_listed_can_be_used_as_it_is(stage: ModelStage) -> None:
    await stage.press(*"vllm/my-model")
    assert "use “vllm/my-model” as it is" in stage.chosen
    await stage.press("enter")
    assert stage.picked == [("vllm/my-model", None)]


async def test_a_name_that_is_listed_is_selected_and_not_offered_again(stage: ModelStage) -> None:
    await stage.press(*"openai/gpt-5.1")
    assert stage.models_list.rows.selected == "openai/gpt-5.1"
    assert "as it is" not in stage.text
    await stage.press("backspace")
    assert stage.models_list.rows.keys[-1] == USE_AS_IT_IS


async def test_of_all_that_are_found_the_one_that_is_called_so_is_selected() -> None:
    longer = Offer(replace(GPT, model="azure/openai/gpt-5.1"), OfferKind.CATALOG, usable=True)
    models = PlayedModels(kept=(longer, *OFFERS), favourites=())
    async with listed(models=models) as stage:
        await stage.open()
        await stage.press(*"openai/gpt-5.1")
        assert stage.models_list.rows.keys == ("azure/openai/gpt-5.1", "openai/gpt-5.1")
        assert stage.models_list.rows.selected == "openai/gpt-5.1"


async def test_the_end_of_the_list_and_a_page_are_one_key_away() -> None:
    async with listed(models=PlayedModels(kept=many(300))) as stage:
        await stage.open()
        await stage.press("ctrl+end")
        assert stage.models_list.rows.selected == stage.models_list.rows.keys[-1]
        await stage.press("pageup", "ctrl+home")
        assert stage.models_list.rows.selected == stage.models_list.rows.keys[0]


async def test_a_click_selects_and_a_second_picks(stage: ModelStage) -> None:
    await stage.click("team/gpt-5.1")
    assert stage.picked == []
    assert "on a server of your own" in stage.text
    await stage.click("team/gpt-5.1")
    assert stage.picked == [("team/gpt-5.1", None)]
    assert stage.app.screen.focused is stage.models_list.line


# -- models that come later, or not at all --


def served(*names: str) -> tuple[Offer, ...]:
    return tuple(Offer(ModelInfo(name), OfferKind.SERVER, usable=True) for name in names)


async def test_what_servers_list_comes_later_stands_first_and_moves_no_selection(
    stage: ModelStage,
) -> None:
    stage.models.served = ServerModels(served("local/two", "openai/gpt-5.1"), ("team lists no models: why.",))
    await stage.press("down")
    selected, before, chosen = stage.models_list.rows.selected, stage.models_list.rows.keys, stage.chosen
    assert "local/two" not in before
    stage.models.server_gate.set()
    await stage.until(lambda: "local/two" in stage.models_list.rows.keys)
    await stage.until(lambda: "team lists no models: why." in stage.text)
    assert stage.models_list.rows.selected == selected
    assert stage.chosen == chosen
    favourites = ("openai/gpt-5.1", "ollama_chat/my-own")
    assert stage.models_list.rows.keys[:3] == (*favourites, "local/two")
    await stage.press("enter")
    assert stage.picked == [(selected, None)]
    assert stage.from_catalog == [True]


async def test_a_name_that_is_typed_stays_selected_when_a_server_lists_it(stage: ModelStage) -> None:
    stage.models.served = ServerModels(served("local/two", "local/two-b"))
    await stage.press(*"local/two")
    assert stage.models_list.rows.selected == USE_AS_IT_IS
    stage.models.server_gate.set()
    await stage.until(lambda: "local/two-b" in stage.models_list.rows.keys)
    assert stage.models_list.rows.selected == "local/two"
    await stage.press("enter")
    assert (stage.picked, stage.from_catalog) == ([("local/two", None)], [False])


@pytest.mark.parametrize(
    ("current", "name", "from_catalog"),
    [
        ("local/one", "local/one", False),
        ("local/one", "openai/gpt-5.1", True),
        ("local/one", "ollama_chat/my-own", False),
        ("local/one", "fast", False),
        ("local/one", "team/gpt-5.1", False),
    ],
)
async def test_only_what_the_catalog_lists_means_the_provider_itself(
    current: str, name: str, from_catalog: bool
) -> None:
    async with listed(models=PlayedModels(current=current)) as stage:
        await stage.open()
        assert stage.models_list.rows.selected == current
        await stage.press(*name, "enter")
        assert (stage.picked[0][0], stage.from_catalog) == (name, [from_catalog])


async def test_what_is_typed_before_the_models_come_is_kept() -> None:
    async with listed() as stage:
        await stage.open(read=False)
        assert "Reading…" in stage.text
        await stage.press(*"haiku", "enter")
        assert stage.picked == []
        await stage.read()
        assert stage.models_list.line.value == "haiku"
        assert stage.models_list.rows.keys == ("anthropic/claude-haiku-3", USE_AS_IT_IS)
        assert "anthropic/claude-haiku-3" in stage.chosen


async def test_favourites_that_are_read_with_the_models_are_listed() -> None:
    async with listed(models=PlayedModels(favourites=())) as stage:
        await stage.open(read=False)
        stage.models.favourites = ("groq/llama-3.3-70b",)
        await stage.read()
        assert stage.models_list.rows.keys[0] == "groq/llama-3.3-70b"


async def test_a_failure_is_said_and_a_name_can_still_be_typed() -> None:
    failure = CaesuraError("The catalogue did not answer: the model process has ended.")
    async with listed(models=PlayedModels(failure=failure)) as stage:
        await stage.open()
        assert "! The catalogue did not answer" in stage.text
        assert "ollama_chat/my-own" in stage.text
        await stage.press(*"x/y", "enter")
        assert stage.picked == [("x/y", None)]


async def test_three_thousand_models_are_rows_only_where_they_are_seen() -> None:
    async with listed(models=PlayedModels(kept=many(3_000))) as stage:
        await stage.open()
        assert "3,003" in stage.text
        assert len(stage.models_list.rows._strips) <= 2 * stage.models_list.rows.size.height
        await stage.press(*"model-2999")
        assert stage.models_list.rows.keys == ("provider-29/some-longer-name-of-a-model-2999", USE_AS_IT_IS)


async def test_no_word_costs_more_the_longer_it_is() -> None:
    """Counted, not timed: a key looks at each model once, whatever was typed before."""
    seen = 0

    class Counted(str):
        __slots__ = ()

        def __contains__(self, word: object) -> bool:
            nonlocal seen
            seen += 1
            return super().__contains__(word)  # type: ignore[operator]

    async with listed(models=PlayedModels(kept=many(500), favourites=())) as stage:
        await stage.open()
        entries = stage.models_list._entries or []
        stage.models_list._entries = [replace(entry, words=Counted(entry.words)) for entry in entries]
        for letter in "some-longer":
            seen = 0
            await stage.press(letter)
            assert seen == len(entries)


# -- pictures --


async def show_models(stage: ModelStage) -> None:
    await stage.open()


async def show_search(stage: ModelStage) -> None:
    await stage.open()
    await stage.press(*"tools", "space", *"no", "down", "ctrl+f")


async def show_as_it_is(stage: ModelStage) -> None:
    await stage.open()
    await stage.press(*"lm_studio/qwen3-30b")


async def show_failure(stage: ModelStage) -> None:
    stage.models.failure = CaesuraError(
        "The models could not be listed: the model process did not answer. Type a name to use it."
    )
    await stage.open()


SCENES = {
    "models": show_models,
    "search": show_search,
    "as-it-is": show_as_it_is,
    "failure": show_failure,
}


@pictures(SCENES, wide=("models",))
def test_looks(
    snap_compare: SnapCompare, show: Callable[[ModelStage], Awaitable[None]], size: tuple[int, int]
) -> None:
    assert looks_right(snap_compare, ModelStage(PlayedModels()), show, size)
