"""The demo model's use of tools: the calls for each of its words, and its reports of their results.

Every call must be harmless and end by itself. A report of a result repeats the result word for word: the demo
sees no processes, and must never guess how a call ended.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, assert_never

from core.base.values import Value
from providers.demo.conversation import Call, Role, Said, ToolWord, after_word, word_in

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = "caesura-demo.txt"
"""The file that `edit` writes, in the workspace."""
LINES_QUOTED = 3
LINE_LIMIT = 600
"""Limits of the quoted beginning of a result: lines, and characters of each."""


class Script(Value):
    """A text to send, and the calls that are made after it."""

    text: str
    calls: tuple[Call, ...] = ()


def _call(name: str, **arguments: object) -> Call:
    return Call(name, json.dumps(arguments))


def _shell(command: str, **more: object) -> Call:
    return _call("shell", command=command, **more)


SCRIPTS = {
    ToolWord.TOOL: Script(
        "I will run one command, if you let me. It counts to five and takes five seconds.",
        (_shell('for i in 1 2 3 4 5; do echo "step $i"; sleep 1; done'),),
    ),
    ToolWord.THREE: Script(
        "I will run three commands at the same time. They only wait, the longest for 40 seconds. Allow them, "
        "open the panel with **Ctrl+T**, and stop **the middle one**: with its stop button, or with `x` on "
        "its row, or with `w` and a word to me about why. The other two go on. When they have ended, I will "
        "tell you what I was told.",
        (_shell("sleep 30"), _shell("sleep 40"), _shell("sleep 20")),
    ),
    ToolWord.RUNAWAY: Script(
        "I will run a command that prints the same line as fast as it can. It has a deadline of five "
        "minutes. **Do not wait for it.**",
        (_shell('yes "still running"', deadline=300),),
    ),
    ToolWord.STUBBORN: Script(
        "I will run a command that does not want to end: it ignores the signal that asks it to, and one of "
        "its two children leaves for a session of its own. They sleep for five minutes. Stop it, and read "
        "how many processes are alive then.",
        (
            _shell(
                "trap '' TERM; echo 'a shell and two sleepers, deaf to TERM'; "
                "setsid sleep 300 & sleep 300 & wait",
                deadline=360,
            ),
        ),
    ),
    ToolWord.BACKGROUND: Script(
        "I will start a command in the background that tells the time every second for ten minutes. It goes "
        "on when this turn has ended, and Esc does not end it: it has its own row and stop button in the "
        "panel (**Ctrl+T**).",
        (_shell('i=0; while [ "$i" -lt 600 ]; do date; i=$((i + 1)); sleep 1; done', background=True),),
    ),
}

AGENT_TEXT = (
    "I will start a sub-agent and give it the task `{task}`. Its model is me again, over a connection of its "
    "own."
)
NESTED_TEXT = (
    "I will start a sub-agent, which starts a sub-agent, which starts a third one, and that one runs a "
    "command. **Esc** ends them all. Stop one of them in the panel (**Ctrl+T**), and the one that started it "
    "learns of it."
)
EDIT_TEXT = (
    f"I will write a small file, `{FILE}`, into the folder that you work in. You see the change before you "
    "allow it. Say `edit` again to see a change of one line."
)
NESTED_TASK = "agent agent tool"

NO_TOOL = """\
For that I would call {tools}, but this request does not offer it to me. A model can only call what it is \
offered; so I call nothing.
"""
UNANSWERED = "The turn ended before I could say anything about my calls.\n\n"
KNOW_NO_MORE = "I know no more than that: I am told words and see no processes."
TYPE_IT_AGAIN = " Nothing of it is run again unless you type the word again."


def script_for(word: ToolWord, asked: str, before: tuple[Said, ...]) -> Script:
    """The text and the calls for `word` in the message `asked`.

    `before` is the conversation so far, which shows how often the file was written.
    """
    match word:
        case ToolWord.TOOL | ToolWord.THREE | ToolWord.RUNAWAY | ToolWord.STUBBORN | ToolWord.BACKGROUND:
            return SCRIPTS[word]
        case ToolWord.EDIT:
            return Script(EDIT_TEXT, (_call("write_file", path=FILE, content=_content(before)),))
        case ToolWord.AGENT:
            rest = after_word(asked, word)
            task = rest if word_in(rest) else ToolWord.TOOL.value
            return Script(AGENT_TEXT.format(task=task), (_call("agent", task=task),))
        case ToolWord.NESTED:
            return Script(NESTED_TEXT, (_call("agent", task=NESTED_TASK),))
        case _:
            assert_never(word)


def _content(before: tuple[Said, ...]) -> str:
    times = 1 + sum(call.name == "write_file" for said in before for call in said.calls)
    return (
        "This file was written by the demo model of Caesura.\n"
        "Nobody needs it: delete it whenever you like.\n"
        f"In this conversation I have asked to write it {times} time{'' if times == 1 else 's'}.\n"
    )


def offered(script: Script, tools: frozenset[str]) -> Script:
    """`script`, or a refusal if it calls a tool that is not among `tools`."""
    missing = dict.fromkeys(call.name for call in script.calls if call.name not in tools)
    if not missing:
        return script
    return Script(NO_TOOL.format(tools=" and ".join(f"a tool named `{name}`" for name in missing)))


def report(conversation: tuple[Said, ...]) -> str:
    """The demo's report on each call of the last reply, quoting the results at the end of the conversation.

    Calls without a result and results without a call are named: neither should occur.
    """
    start = len(conversation)
    while start and conversation[start - 1].role is Role.TOOL:
        start -= 1
    results = conversation[start:]
    calls = conversation[start - 1].calls if start else ()
    count = "one call" if len(calls) == 1 else f"{len(calls)} calls"
    told = [f"I made {count}. This is what I was told:"]
    for number, call in enumerate(calls, 1):
        texts = [result.text for result in results if result.call_id == call.call_id]
        told.append(f"{number}. {call.name}: {_code(_gist(call))}")
        told += [_indented(text) for text in texts] or ["   Nothing. There was no result for it."]
    made = {call.call_id for call in calls}
    strays = [result for result in results if result.call_id not in made]
    told += [f"And a result of a call that I have not made:\n\n{_indented(stray.text)}" for stray in strays]
    return "\n\n".join([*told, f"{KNOW_NO_MORE}\n"])


def unanswered(conversation: tuple[Said, ...]) -> str:
    """The same, when the turn had ended before the report."""
    return f"{UNANSWERED}{report(conversation).rstrip()}{TYPE_IT_AGAIN}\n"


def _gist(call: Call) -> str:
    """The argument by which a user recognizes the call, on one line."""
    try:
        read = json.loads(call.arguments)
    except (ValueError, RecursionError):
        read = None
    fields = read if isinstance(read, dict) else {}
    known = (fields[name] for name in ("command", "path", "task") if isinstance(fields.get(name), str))
    return " ".join(next(known, call.arguments).split())


def _indented(text: str) -> str:
    return "\n".join(f"   > {line}" for line in _quoted_lines(text))


def _quoted_lines(text: str) -> Iterator[str]:
    """The first lines and the last one, as code, so that they are not interpreted as Markdown."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["(nothing)"]
    shown = lines[:LINES_QUOTED]
    more = len(lines) - len(shown)
    yield from (f"{_code(line)}\\" for line in shown[:-1])
    yield _code(shown[-1]) + ("\\" if more else "")
    if more > 1:
        yield f"and {more:,} more lines, the last of them: {_code(lines[-1])}"
    elif more:
        yield _code(lines[-1])


def _code(text: str) -> str:
    """A code span of `text`, which may hold backticks itself."""
    short = text if len(text) <= LINE_LIMIT else f"{text[:LINE_LIMIT].rstrip()} …"
    longest = max((len(run) for run in re.findall("`+", short)), default=0)
    space = " " if longest else ""
    return f"{'`' * (longest + 1)}{space}{short}{space}{'`' * (longest + 1)}"
