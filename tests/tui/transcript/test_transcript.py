"""The transcript in a running application: following, new lines, folding, resizing, selecting."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from subprocess import run
from typing import TYPE_CHECKING

import pytest
from textual.app import App, ComposeResult
from textual.events import MouseScrollDown
from textual.geometry import Offset
from textual.selection import SELECT_ALL, Selection

from core.model.messages import ResultStatus
from core.operations.events import CallEnded, Shown
from tui.transcript.card import Card
from tui.transcript.document import PAGES_LAID_OUT
from tui.transcript.feed import CARDS_TOGGLED, Channel
from tui.transcript.pages import PAGE_ROWS
from tui.transcript.plain import NoticeKind
from tui.transcript.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from textual.pilot import Pilot


class Screen(App[None]):
    def compose(self) -> ComposeResult:
        yield Transcript()

    @property
    def transcript(self) -> Transcript:
        return self.query_one(Transcript)


@asynccontextmanager
async def shown(width: int = 40, height: int = 10) -> AsyncIterator[tuple[Transcript, Pilot[None], Screen]]:
    app = Screen()
    async with app.run_test(size=(width, height)) as pilot:
        yield app.transcript, pilot, app


def screen_of(transcript: Transcript) -> list[str]:
    return [transcript.render_line(y).text.rstrip() for y in range(transcript.size.height)]


def reply(transcript: Transcript, text: str) -> None:
    transcript.feed.end_section()
    transcript.feed.receive(Channel.TEXT, text)
    transcript.end_reply()


def numbered(first: int, last: int) -> str:
    return "".join(f"line {number}\n" for number in range(first, last))


async def test_a_conversation() -> None:
    async with shown(60, 16) as (transcript, pilot, _):
        transcript.add_prompt("What is **this**?\nTell")
        transcript.feed.end_section()
        transcript.feed.receive(Channel.REASONING, "I think so")
        transcript.feed.receive(Channel.TEXT, "It is **bold** [b]not[/b] \x1b[31m.")
        assert screen_of(transcript)[0] == "❯ What is **this**?"
        transcript.end_reply("interrupted")
        transcript.add_notice("Stopped in 1 ms", NoticeKind.STOPPED)
        await pilot.pause()
        assert [row for row in screen_of(transcript) if row] == [
            "❯ What is **this**?",
            "  Tell",
            "Thought (3 words) ▸",
            "It is bold [b]not[/b] ␛[31m.",
            "┄ interrupted",
            "■ Stopped in 1 ms",
        ]
        assert not transcript.can_focus


async def test_every_row_is_as_wide_as_the_view() -> None:
    async with shown(11, 12) as (transcript, pilot, _):
        reply(
            transcript,
            "漢字かな 👩‍🚀❤️🇩🇪 שלום\n- a long item 漢\n"
            "```\ncode 漢字漢字\n```\n| a | b | c |\n|-|-|-|\n| 1 | 2 | 3 |",
        )
        await pilot.pause()
        for y in range(12):
            assert transcript.render_line(y).cell_length == transcript.scrollable_content_region.width


async def test_it_follows_the_end_and_says_what_is_new() -> None:
    async with shown() as (transcript, pilot, _):
        transcript.feed.end_section()
        transcript.feed.receive(Channel.TEXT, numbered(0, 50))
        transcript.flush()
        assert screen_of(transcript)[-1] == "line 49"
        transcript.scroll_to(y=10, animate=False)
        top = screen_of(transcript)[0]
        transcript.feed.receive(Channel.TEXT, numbered(50, 57))
        transcript.flush()
        assert screen_of(transcript)[0] == top
        assert transcript._end.new_rows == 7
        assert screen_of(transcript)[-1].endswith("↓ 7 new")
        await pilot.pause()
        assert await pilot.click(Transcript, offset=(35, 9))
        assert screen_of(transcript)[-1] == "line 56"
        transcript.feed.receive(Channel.TEXT, numbered(57, 60))
        transcript.end_reply()
        assert screen_of(transcript)[-1] == "line 59"
        assert transcript._end.new_rows == 0


async def test_scrolling_by_keys_and_wheel() -> None:
    async with shown() as (transcript, pilot, _):
        reply(transcript, numbered(0, 50))
        transcript.action_scroll_home()
        assert screen_of(transcript)[0] == "line 0"
        transcript.action_page_down()
        assert screen_of(transcript)[0] == "line 10"
        transcript.action_page_up()
        assert screen_of(transcript)[0] == "line 0"
        transcript.post_message(
            MouseScrollDown(transcript, 1, 1, 0, 1, 0, shift=False, meta=False, ctrl=False)
        )
        await pilot.pause()
        assert screen_of(transcript)[0] != "line 0"
        transcript.action_scroll_end()
        assert screen_of(transcript)[-1] == "line 49"


async def test_reasoning_unfolds_by_key_and_click() -> None:
    async with shown() as (transcript, pilot, _):
        transcript.feed.end_section()
        for piece in ("two wo", "rds\n\nand ", "more"):
            transcript.feed.receive(Channel.REASONING, piece)
            transcript.flush()
        assert screen_of(transcript)[:2] == ["Thinking… (4 words) ▸", ""]
        transcript.feed.receive(Channel.TEXT, "answer")
        transcript.end_reply()
        transcript.toggle_reasoning()
        assert screen_of(transcript)[:6] == ["Thought (4 words) ▾", "two words", "", "and more", "", "answer"]
        await pilot.pause()
        assert await pilot.click(Transcript, offset=(3, 0))
        assert screen_of(transcript)[:3] == ["Thought (4 words) ▸", "", "answer"]


@pytest.mark.promise("H1")
async def test_a_prompt_can_be_taken_away_again() -> None:
    async with shown() as (transcript, _, _):
        transcript.add_prompt("first")
        reply(transcript, "answer")
        before = screen_of(transcript)
        handle = transcript.add_prompt("second")
        assert screen_of(transcript) != before
        transcript.remove_prompt(handle)
        assert screen_of(transcript) == before
        transcript.remove_prompt(handle)
        assert screen_of(transcript) == before


def running(name: str = "shell", title: str = "sleep 300") -> Card:
    card = Card(name)
    card.start(title)
    return card


def end(card: Card, shown: str = "12 passed") -> None:
    card.end(CallEnded(1, "call", card.name, card.title, ResultStatus.COMPLETED, Shown(shown), "{}", 4.2))


def rows_of(transcript: Transcript) -> list[str]:
    return "\n".join(screen_of(transcript)).rstrip().split("\n")


async def test_where_the_only_prompt_was_taken_away_there_is_nothing() -> None:
    async with shown() as (transcript, pilot, _):
        handle = transcript.add_prompt("hello")
        assert screen_of(transcript)[0] == "❯ hello"
        transcript.remove_prompt(handle)
        await pilot.hover(Transcript, offset=(2, 0))
        assert not any(screen_of(transcript))


async def test_calls_stand_between_the_texts_that_came_before_and_after_them() -> None:
    async with shown(40, 20) as (transcript, _, _):
        transcript.feed.end_section()
        transcript.feed.receive(Channel.REASONING, "hm")
        transcript.feed.receive(Channel.TEXT, "before")
        transcript.flush()
        cards = [running(), running("grep", "word")]
        handles = [transcript.feed.add_card(card) for card in cards]
        transcript.feed.receive(Channel.TEXT, "\n\n")
        transcript.feed.add_card(Card("agent"))
        transcript.feed.receive(Channel.TEXT, "after")
        transcript.end_reply()
        around = ["Thought (1 word) ▸", "", "before", ""], ["◌ agent  queued", "", "after"]
        assert rows_of(transcript) == [
            *around[0],
            "● shell  sleep 300  running",
            "● grep  word  running",
            *around[1],
        ]
        end(cards[0])
        transcript.feed.change_card(handles[0])
        assert transcript.flush() is False
        assert rows_of(transcript) == [
            *around[0],
            "✓ shell  sleep 300  4.2 s ▸",
            "● grep  word  running",
            *around[1],
        ]


@pytest.mark.promise("E10")
async def test_a_card_waits_for_the_text_before_it_and_blocks_nothing() -> None:
    async with shown() as (transcript, _, _):
        transcript.feed.end_section()
        transcript.feed.receive(Channel.TEXT, "word\n\n" * 20_000)
        card = running()
        handle = transcript.feed.add_card(card)
        assert transcript.flush()
        assert "shell" not in "\n".join(screen_of(transcript))
        end(card)
        transcript.feed.change_card(handle)
        transcript.feed.receive(Channel.TEXT, "after")
        await transcript.drain()
        assert screen_of(transcript)[-5:] == ["word", "", "✓ shell  sleep 300  4.2 s ▸", "", "after"]


async def test_a_card_that_changes_draws_nothing_else_anew() -> None:
    async with shown(40, 100) as (transcript, _, _):
        cards = [running(title=f"sleep {number}") for number in range(60)]
        handles = [transcript.feed.add_card(card) for card in cards]
        transcript.flush()
        pages = {page: page.lines for page in transcript.feed.document.pages}
        end(cards[30])
        transcript.feed.change_card(handles[30])
        transcript.flush()
        assert [page for page in pages if page.lines is not pages[page]] == [handles[30].page]


async def test_a_card_unfolds_by_click_and_all_by_key() -> None:
    async with shown(40, 10) as (transcript, pilot, _):
        cards = [running(), running("grep", "word"), running("shell", "yes")]
        for card in cards:
            transcript.feed.add_card(card)
        for card in cards[:2]:
            end(card, shown="one\ntwo")
        transcript.flush()
        folded = ["✓ shell  sleep 300  4.2 s ▸", "✓ grep  word  4.2 s ▸", "● shell  yes  running"]
        assert rows_of(transcript) == folded
        await pilot.pause()
        assert await pilot.click(Transcript, offset=(3, 1))
        opened = ["✓ grep  word  4.2 s ▾", "  output", "   one", "   two"]
        assert rows_of(transcript) == [folded[0], *opened, folded[2]]
        # A click into what is shown is for selecting it, and a running card has nothing to show yet.
        for row in (3, 5):
            assert await pilot.click(Transcript, offset=(3, row))
        assert rows_of(transcript) == [folded[0], *opened, folded[2]]
        assert await pilot.click(Transcript, offset=(3, 1))
        assert rows_of(transcript) == folded
        transcript.toggle_cards()
        assert rows_of(transcript) == ["✓ shell  sleep 300  4.2 s ▾", *opened[1:], *opened, folded[2]]
        transcript.toggle_cards()
        assert rows_of(transcript) == folded


async def test_a_card_that_is_unfolded_stays_where_it_was_clicked() -> None:
    async with shown() as (transcript, pilot, _):
        reply(transcript, numbered(0, 50))
        card = running()
        transcript.feed.add_card(card)
        end(card, shown=numbered(0, 30))
        transcript.flush()
        assert screen_of(transcript)[-1] == "✓ shell  sleep 300  4.2 s ▸"
        await pilot.pause()
        assert await pilot.click(Transcript, offset=(3, 9))
        assert screen_of(transcript)[-1] == "✓ shell  sleep 300  4.2 s ▾"
        assert transcript._end.new_rows == 0
        transcript.action_scroll_end()
        assert screen_of(transcript)[-1] == "   line 29"
        transcript.toggle_cards()
        assert screen_of(transcript)[-1] == "✓ shell  sleep 300  4.2 s ▸"
        reply(transcript, "the end is followed again")
        assert screen_of(transcript)[-1] == "the end is followed again"


async def test_blanks_before_a_call_leave_no_gap() -> None:
    async with shown() as (transcript, _, _):
        transcript.add_prompt("go")
        for _ in range(3):
            transcript.feed.end_section()
            transcript.feed.receive(Channel.TEXT, "\n\n")
            transcript.feed.add_card(running())
            transcript.flush()
        assert rows_of(transcript) == ["❯ go", "", *["● shell  sleep 300  running"] * 3]
        transcript.feed.receive(Channel.TEXT, "\n\n")
        transcript.flush()
        transcript.end_reply()
        assert transcript.feed.document.height == 5
        assert transcript.feed.document.at(5) is None


async def test_a_card_aside_leaves_an_open_reply_whole() -> None:
    async with shown() as (transcript, _, _):
        transcript.feed.end_section()
        transcript.feed.receive(Channel.TEXT, "```\nx = 1\n")
        transcript.flush()
        card = running("background", "npm start")
        end(card)
        transcript.add_card_aside(card)
        transcript.feed.receive(Channel.TEXT, "# no title\n```\nend")
        transcript.end_reply()
        expected = ["✓ background  npm start  4.2 s ▸", "", " x = 1", " # no title", "", "end"]
        assert rows_of(transcript) == expected


async def test_one_key_unfolds_a_bounded_number_of_cards() -> None:
    async with shown() as (transcript, _, _):
        for number in range(3 * CARDS_TOGGLED):
            card = running(title=f"sleep {number}")
            transcript.feed.add_card(card)
            end(card)
        await transcript.drain()
        transcript.toggle_cards()
        text, _ = transcript.get_selection(SELECT_ALL) or ("", "")
        assert text.count("12 passed") == CARDS_TOGGLED
        assert screen_of(transcript)[-1] == "   12 passed"


async def test_a_card_is_copied_whole_though_it_is_not_shown_whole() -> None:
    async with shown(40, 20) as (transcript, _, _):
        card = running(title="漢字 " * 30)
        transcript.feed.add_card(card)
        end(card, shown="漢字" * 30)
        transcript.flush()
        transcript.toggle_cards()
        text, _ = transcript.get_selection(SELECT_ALL) or ("", "")
        assert "漢字" * 30 in text
        assert "…" in text.split("\n")[0]


_NOTICES = ["· help", "", "· more"]


@pytest.mark.parametrize(
    ("first", "then", "expected"),
    [
        ("```\nx = 1\n", "# no title\n```\nend", [*_NOTICES, "", " x = 1", " # no title", "", "end"]),
        ("|a|b|\n|-|-|\n|1|2|\n", "|3|4|\n", [*_NOTICES, "", "a  │ b", "───┼───", "1  │ 2", "3  │ 4"]),
        ("above\n\n**half", " of it**\n- item", ["above", "", *_NOTICES, "", "half of it", "• item"]),
        ("done\n# title\n", "", ["done", "", "title", "", *_NOTICES]),
        ("", "a reply", [*_NOTICES, "", "a reply"]),
    ],
    ids=["code", "table", "paragraph", "nothing open", "nothing yet"],
)
async def test_a_notice_leaves_an_open_reply_whole(first: str, then: str, expected: list[str]) -> None:
    async with shown(40, 20) as (transcript, _, _):
        transcript.feed.end_section()
        transcript.feed.receive(Channel.TEXT, first)
        transcript.add_notice("help", NoticeKind.INFO)
        transcript.add_notice("more", NoticeKind.INFO)
        assert "· more" in screen_of(transcript)
        transcript.feed.receive(Channel.TEXT, then)
        transcript.end_reply()
        assert "\n".join(screen_of(transcript)).rstrip().split("\n") == expected


async def test_reasoning_goes_on_below_a_notice_and_is_folded_whole() -> None:
    async with shown() as (transcript, _, _):
        transcript.feed.end_section()
        transcript.feed.receive(Channel.REASONING, "one\n\ntwo")
        transcript.add_notice("help", NoticeKind.INFO)
        transcript.feed.receive(Channel.REASONING, " three")
        transcript.flush()
        assert screen_of(transcript)[:4] == ["Thinking… (3 words) ▸", "", "· help", ""]
        transcript.toggle_reasoning()
        assert screen_of(transcript)[:6] == ["Thinking… (3 words) ▾", "one", "", "· help", "", "two three"]
        transcript.toggle_reasoning()
        assert not any(screen_of(transcript)[3:])


async def test_a_reply_is_marked_where_it_breaks_off_below_a_notice() -> None:
    async with shown() as (transcript, _, _):
        transcript.feed.end_section()
        transcript.feed.receive(Channel.TEXT, "half of it")
        transcript.add_notice("help", NoticeKind.INFO)
        transcript.end_reply("interrupted")
        assert screen_of(transcript)[:4] == ["· help", "", "half of it", "┄ interrupted"]


async def test_a_notice_does_not_read_a_whole_backlog() -> None:
    async with shown() as (transcript, _, _):
        transcript.feed.end_section()
        transcript.feed.receive(Channel.TEXT, "word\n\n" * 100_000)
        transcript.add_notice("help", NoticeKind.INFO)
        assert transcript.flush()


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("word\n" * 1_000_000, "(999,960 more lines)"),
        ("one\n" * 41, "(1 more line)"),
        ("one\n" * 40, "one"),
        ("x" * 5_000_000, "(4,996,000 more characters)"),
        ("x" * 4_000 + "\n\n", "  xxxx"),
    ],
    ids=["lines", "one line", "all lines", "characters", "all characters"],
)
async def test_of_a_huge_prompt_the_beginning_is_shown(text: str, last: str) -> None:
    async with shown(40, 20) as (transcript, _, _):
        transcript.add_prompt(text)
        assert screen_of(transcript)[-1].endswith(last)
        said, _ = transcript.get_selection(SELECT_ALL) or ("", "")
        assert len(said) < 4_100


@pytest.mark.promise("E10")
async def test_a_backlog_is_shown_whole() -> None:
    async with shown(80, 24) as (transcript, _, _):
        chunks = [f"{number:019} " for number in range(20_000)]
        transcript.feed.end_section()
        for chunk in chunks:
            transcript.feed.receive(Channel.TEXT, chunk)
        assert transcript.flush()
        await transcript.drain()
        assert not transcript.flush()
        transcript.end_reply()
        assert screen_of(transcript)[-1].endswith(chunks[-1].strip())
        text, _ = transcript.get_selection(SELECT_ALL) or ("", "")
        assert text.split() == [chunk.strip() for chunk in chunks]


async def test_a_resize_keeps_the_place() -> None:
    async with shown(60, 20) as (transcript, pilot, _):
        for number in range(300):
            reply(transcript, f"## part {number}\n" + "many words that are to be wrapped " * 12)
        await pilot.pause()
        middle = transcript.virtual_size.height // 2
        transcript.scroll_to(y=middle, animate=False)
        while not screen_of(transcript)[0].startswith("part"):
            transcript.scroll_to(y=transcript.scroll_offset.y + 1, animate=False)
        place = screen_of(transcript)[0]
        for width in (33, 90, 60):
            await pilot.resize_terminal(width, 20)
            await pilot.pause()
            assert screen_of(transcript)[0] == place
        transcript.action_scroll_end()
        await pilot.resize_terminal(30, 9)
        await pilot.pause()
        assert screen_of(transcript)[-1] == "to be wrapped"


async def test_scrolling_up_through_guessed_pages_skips_nothing() -> None:
    async with shown(60, 20) as (transcript, pilot, _):
        reply(transcript, "\n\n".join(f"{number} " + "word " * (number % 40) for number in range(400)))
        await pilot.resize_terminal(24, 12)
        await pilot.pause()
        seen = [row.split()[0] for row in reversed(screen_of(transcript)) if row and row.split()[0].isdigit()]
        while transcript.scroll_offset.y > 0:
            transcript.scroll_to(y=transcript.scroll_offset.y - 1, animate=False)
            first = screen_of(transcript)[0].split()
            if first and first[0].isdigit():
                seen.append(first[0])
        assert seen == [str(number) for number in range(399, -1, -1)]


async def test_selected_text_is_what_was_written() -> None:
    async with shown(30, 20) as (transcript, pilot, app):
        reply(
            transcript,
            "a paragraph of words that has to be wrapped twice at least\n\n- an item that is long as well\n"
            "```\nx = 1\n    y\n```\n> quoted text that is wrapped too\n" + "z" * 40,
        )
        await pilot.pause()
        text, _ = transcript.get_selection(SELECT_ALL) or ("", "")
        assert text == (
            "a paragraph of words that has to be wrapped twice at least\n\n• an item that is long as well\n"
            "\nx = 1\n    y\n\nquoted text that is wrapped too " + "z" * 40
        ).replace("too z", "too\nz")
        await pilot.mouse_down(Transcript, offset=(2, 0))
        await pilot.hover(Transcript, offset=(8, 1))
        await pilot.mouse_up(Transcript, offset=(8, 1))
        await pilot.pause()
        assert app.screen.get_selected_text() == "paragraph of words that has to be wra"
        assert any(
            segment.style == app.screen.get_component_rich_style("screen--selection")
            or (
                segment.style
                and segment.style.bgcolor == app.screen.get_component_rich_style("screen--selection").bgcolor
            )
            for segment in transcript.render_line(0)
        )


async def test_selected_tables_have_no_padding() -> None:
    async with shown(30, 20) as (transcript, _, _):
        reply(transcript, "| name | b |\n|---|---|\n| c | d |")
        text, _ = transcript.get_selection(SELECT_ALL) or ("", "")
        assert text == "name │ b\n─────┼───\nc    │ d"


async def test_only_what_is_looked_at_has_lines() -> None:
    """However much was said, the lines that exist are those around the screen."""
    async with shown(80, 24) as (transcript, _, _):
        for kind in ("- item\n", "word ", "```py\nx = 1\n```\n", "| a | b |\n|---|---|\n| 1 | 2 |\n\n"):
            transcript.feed.end_section()
            for _ in range(20):
                transcript.feed.receive(Channel.TEXT, kind * 500)
                while transcript.flush():
                    pass
            transcript.end_reply()
            pages = list(transcript.feed.document.pages)
            assert sum(len(page.lines or ()) for page in pages) < 24 + 2 * PAGES_LAID_OUT * PAGE_ROWS
            assert sum(page._blocks is not None for page in pages) == 1
        assert transcript.virtual_size.height > 20_000


async def test_many_short_messages_on_a_tall_screen() -> None:
    async with shown(40, 100) as (transcript, _, _):
        for number in range(200):
            transcript.add_notice(f"notice {number}", NoticeKind.INFO)
        shown_rows = [row for row in screen_of(transcript) if row]
        assert shown_rows == [f"· notice {number}" for number in range(150, 200)]


async def test_a_selection_outlives_what_comes_below() -> None:
    async with shown(30, 20) as (transcript, _, app):
        reply(transcript, "first line\nsecond line")
        style = next(iter(transcript.render_line(1))).style
        assert style is not None
        _, y = style.meta["offset"]
        app.screen.selections = {transcript: Selection(Offset(0, y), Offset(6, y))}
        reply(transcript, numbered(0, 100))
        assert app.screen.get_selected_text() == "second"


async def test_a_light_theme_paints_anew() -> None:
    async with shown() as (transcript, pilot, app):
        reply(transcript, "`code`")
        await pilot.pause()
        dark = next(iter(transcript.render_line(0))).style
        app.theme = "textual-light"
        await pilot.pause()
        assert next(iter(transcript.render_line(0))).style != dark


async def test_links_reach_the_terminal_only_if_harmless() -> None:
    async with shown(60) as (transcript, _, _):
        reply(transcript, "[a](https://example.org) [b](ftp://example.org) [c](javascript:x)")
        links = [
            segment.style.link
            for segment in transcript.render_line(0)
            if segment.style and segment.style.link
        ]
        assert links == ["https://example.org"]


async def test_colours_come_when_their_language_is_loaded() -> None:
    async with shown() as (transcript, pilot, app):
        reply(transcript, "```lua\nlocal x = 1\n```")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert len({segment.style.color for segment in transcript.render_line(0) if segment.style}) > 1


@pytest.mark.parametrize("size", [(10, 5), (10, 24), (20, 5)])
async def test_small_screens(size: tuple[int, int]) -> None:
    async with shown(*size) as (transcript, pilot, _):
        transcript.add_prompt("")
        reply(transcript, "")
        reply(transcript, "> > - 1. deep\n" + "x" * 500 + "\n| a | b | c | d |\n|-|-|-|-|\n| 1 | 2 | 3 | 4 |")
        transcript.add_notice("", NoticeKind.ERROR)
        await pilot.pause()
        assert screen_of(transcript)[-1] == "✗"


def test_importing_it_costs_little() -> None:
    """The first frame does not wait for Markdown and colours."""
    code = (
        "import sys, tui.transcript.transcript;"
        "print([m for m in ('rich.markdown', 'rich.syntax', 'pygments', 'markdown_it') if m in sys.modules])"
    )
    assert (
        run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
