"""The exit code of `run` for each way in which a failed turn's last reply can have ended."""

from __future__ import annotations

import pytest

from core.frontends.headless import _code_of
from core.model.reply_end import ReplyEnd

CODES = {
    ReplyEnd.CUT: 3,
    ReplyEnd.FILTERED: 4,
    ReplyEnd.EMPTY: 5,
    ReplyEnd.BROKEN_OFF: 6,
    ReplyEnd.UNKNOWN: 7,
}


@pytest.mark.promise("P7")
@pytest.mark.parametrize("end", [None, *ReplyEnd])
def test_each_end_of_a_reply_has_its_code(end: ReplyEnd | None) -> None:
    assert _code_of(end) == (1 if end is None else CODES.get(end, 1))
