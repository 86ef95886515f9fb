"""A title is one line that fits into a list, whatever a model answers or a person writes."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from core.base.sanitize import printable
from core.model.messages import Usage, UserMessage
from core.operations.jobs import JobKind, Jobs
from core.operations.registry import Registry
from core.session.titles import (
    MOST_CELLS,
    PROMPT_CHARACTERS,
    REPLY_CHARACTERS,
    clean_title,
    first_title,
    title_work,
)
from tests.support.scripted_models import MODEL, NO_KEY, SOME, Script, ScriptedProvider, say
from tests.support.waiting import GENEROUS_S

ANYTHING = st.text(st.characters(exclude_categories=()), max_size=200)
WIDE = st.text(st.sampled_from("aé ␛漢字한🙂❤\ufe0f\u200d👩‍🚀\u0301\u202e\x1b\n\t\"'“”#*.…0"), max_size=200)


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ("Sorting by date", "Sorting by date"),
        ('  "Sorting by date."\n', "Sorting by date"),
        ("# **Title:** Sorting by date", "Sorting by date"),
        ("Title: Sorting\nBecause it sorts.", "Sorting"),
        ("<think>\nIt sorts.\n</think>\n\nSorting", "Sorting"),
        ("„Sortieren nach Datum“", "Sortieren nach Datum"),
        ("- \n***\nSorting", "Sorting"),
        ("Titles: why", "Titles: why"),
        ("`List<String>`", "List<String>"),
        ("C# and F#", "C# and F#"),
        ("\x1b]0;gone\x07", "␛]0;gone␇"),
        ("", ""),
        ('""', ""),
        ("...\n***", ""),
    ],
)
def test_a_title_is_found_in_what_is_put_around_it(answer: str, title: str) -> None:
    assert clean_title(answer) == title


def test_what_is_too_long_is_cut_behind_a_word() -> None:
    title = clean_title("word " * 40)
    assert title == "word " * 11 + "word…"
    assert clean_title("漢" * 40) == "漢" * 29 + "…"


@given(ANYTHING | WIDE)
@example("❤\ufe0f" * 40)
@example("a" * 59 + "漢漢")
def test_every_title_is_one_printable_line_that_fits(text: str) -> None:
    for title in (clean_title(text), first_title(text)):
        assert cell_len(title) <= MOST_CELLS
        assert printable(title) == title
        assert len(title.splitlines()) <= 1
        assert title == title.strip()
    assert clean_title(clean_title(text)) == clean_title(text)


def test_without_a_name_a_conversation_has_its_first_line() -> None:
    assert first_title("\n\n  fix   the\ttests \nthey fail") == "fix the tests"
    assert first_title(" \n ") == ""


@pytest.mark.promise("C4")
@pytest.mark.parametrize(
    ("script", "titles"),
    [(say('"Sorting by date."'), ["Sorting by date"]), (say("..."), []), ((*SOME, NO_KEY), [])],
)
async def test_a_model_is_asked_once_and_shortly_and_without_an_answer_nothing_is_kept(
    script: Script, titles: list[str]
) -> None:
    provider, registry, kept = ScriptedProvider(script), Registry(), list[str]()
    spent: list[Usage] = []
    jobs = Jobs("s", provider, registry, set(), spend=lambda usage, asked, answered: spent.append(usage))
    work = title_work(MODEL, "http://here", "sort " * 10_000, "done " * 10_000, kept.append)
    assert jobs.start(JobKind.TITLE, work)
    async with asyncio.timeout(GENEROUS_S):
        await asyncio.wait(jobs.tasks)
    assert kept == titles
    assert registry.snapshot() == ()
    (request,) = provider.requests
    (message,) = request.messages
    assert isinstance(message, UserMessage)
    assert len(message.text) < PROMPT_CHARACTERS + REPLY_CHARACTERS + 100
    assert (request.api_base, request.tools) == ("http://here", ())
