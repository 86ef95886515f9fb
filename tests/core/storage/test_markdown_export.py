"""An export as Markdown is readable, and no message changes how the text after it is displayed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from msgspec.structs import replace

from core.base.sanitize import printable
from core.model.messages import (
    AssistantMessage,
    FinishReason,
    Reasoning,
    ResultStatus,
    Step,
    Text,
    ToolCall,
    ToolResult,
    ToolResults,
    UserMessage,
)
from core.storage.markdown_export import ReasoningChoice, to_markdown
from core.storage.records import StoredStep
from tests.core.storage.test_json_export import AT, SESSION

MARKDOWN = """\
# Sort \\*it\\*

- Begun 2025-11-21 09:00 UTC, last changed 2025-11-21 09:01 UTC
- Model `openai/x`, in `/home/me`
- 1,200 tokens read, 34 written, $0.5000

## Turn 1, 2025-11-21 09:00 UTC

> sort it

I look.

**Call** `shell`: **completed**, 1.2 s

```json
{
  "command": "ls"
}
```

`````text
one
````
two
`````

**Call** `read`: **stopped**

```json
{}
```

```text
Stopped after 1.0 s
```

> ```python
> sorted(

*The reply is not complete: it was stopped.*

*The turn was stopped.*

*Summary of the first 1 steps for the model:*

> It was sorted.

## Turn 2, 2025-11-21 09:00 UTC

> again

Done.
"""


def test_markdown_tells_all_of_it_readably() -> None:
    assert to_markdown(SESSION) == MARKDOWN
    assert "*Reasoning:*\n\n> hm" in to_markdown(SESSION, ReasoningChoice.INCLUDED)
    unknown = replace(SESSION, info=replace(SESSION.info, cost=None))
    assert "cost unknown" in to_markdown(unknown)
    assert "Caesura died" in to_markdown(replace(SESSION, turns=(replace(SESSION.turns[0], outcome=None),)))


HOSTILE = st.sampled_from(
    [
        "```",
        "~~~~",
        "`" * 9,
        "<!--",
        "<script>",
        "<pre",
        "<?x",
        "<![CDATA[",
        "- ",
        "> ",
        "    ",
        "# ",
        "|",
        "---",
    ]
) | st.text(max_size=5)
hostile = st.lists(HOSTILE | st.just("\n"), max_size=12).map("".join)


@given(hostile, hostile, hostile, hostile)
@settings(deadline=None)
def test_nothing_in_a_message_swallows_or_forges_what_follows(
    prompt: str, reply: str, arguments: str, result: str
) -> None:
    call = ToolCall("a", prompt, arguments)
    said = AssistantMessage((Reasoning(reply), Text(reply), call), "x", FinishReason.TOOL_CALLS)
    results = ToolResults((ToolResult("a", call.name, ResultStatus.DENIED, result),))
    steps = (
        StoredStep(Step((UserMessage(prompt), said, results)), 1, AT),
        StoredStep(Step((AssistantMessage((Text(reply),), "x", FinishReason.STOP),)), 1, AT),
        StoredStep(Step((UserMessage("the end"),)), 2, AT),
    )
    loaded = replace(SESSION, steps=steps, turns=(), compactions=())
    text = to_markdown(loaded, ReasoningChoice.INCLUDED)
    tokens = MarkdownIt("commonmark").parse(text)
    fences = [token for token in tokens if token.type == "fence" and token.level == 0]
    shown = [token.content.removesuffix("\n") for token in fences if token.info == "text"]
    assert printable(result).strip("\n") in shown
    assert any(token.content == "the end" for token in tokens[-4:])
    headings = [tokens[n + 1].content for n, token in enumerate(tokens) if token.type == "heading_open"]
    assert headings[-1] == "Turn 2, 2025-11-21 09:00 UTC"
    bare = text.replace("\n", "").replace("\t", "")
    assert "\x1b" not in bare
