"""The prepared texts of the demo model; the long ones are files beside this one.

Only data: `providers.demo.script` decides when each is used. No text may claim that a language model is at
work, or promise what Caesura does not do.
"""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent

_BLOCK = re.compile(r"\s*(?:[-*+] |[|#>]|\d+[.)] |```)|\s*$")


def _flow(text: str) -> str:
    """`text` with each paragraph on one line, as models send it: the reader's screen decides the width."""
    lines: list[str] = []
    in_code = False
    for line in text.split("\n"):
        fence = line.lstrip().startswith("```")
        before = lines[-1] if lines else ""
        goes_on = not (in_code or fence or _BLOCK.match(line) or not before.strip())
        if goes_on and not before.lstrip().startswith(("#", "|", "```")):
            lines[-1] = f"{before} {line.strip()}"
        else:
            lines.append(line)
        in_code ^= fence
    return "\n".join(lines)


WORDS = """\
| type this | and I will |
|-----------|------------|
| `long` | talk for more than a minute, so that there is something to stop |
| `markdown` | show headings, lists, tables, code and scripts from around the world |
| `think` | think aloud before I answer |
| `fast` | send 5,000 pieces as fast as the connection takes them |
| `stall` | fall silent in the middle of a sentence, for ever |
| `silent` | take your message and never say a word |
| `error` | fail on purpose, with a status 500 |
| `cut` | hang up in the middle of a reply |
"""

TOOL_WORDS = """\
| type this | and I will ask to |
|-----------|-------------------|
| `tool` | run one command |
| `three` | run three at the same time, so that you can stop the middle one |
| `runaway` | run one that floods you with lines |
| `stubborn` | run one that ignores the signal to end |
| `background` | start one that outlives the turn |
| `edit` | write a small file, which shows the change first |
| `agent` | start a sub-agent with a task: `agent three` |
| `nested` | start sub-agents, three deep |
"""

REAL_MODEL = """\
To talk to a real model, leave with Ctrl+C twice, give Caesura a key and name the model:

```sh
export ANTHROPIC_API_KEY=...
caesura --model anthropic/claude-sonnet-4-5
```

In the same way `openai/gpt-5.1` goes with `OPENAI_API_KEY` and `gemini/gemini-2.5-pro` with
`GEMINI_API_KEY`. A model on your own machine needs no key: `caesura --model ollama/llama3.1`.
"""

GREETING = _flow(
    f"""\
# Welcome to Caesura

Caesura is an assistant for the terminal with one promise: **when you press Esc, it stops.** Not only
on the screen. The request itself ends, its connection closes, and the notice that you then see is a
measurement.

I am the other end of that promise. I am *not* a language model: I am a small web server inside
Caesura that plays prepared texts. But there is a real connection between us, and I watch my end of
it. So when you stop me, I can tell you in my next reply what I saw.

**Try it now:** type `long`, press Enter, and press **Esc** while I talk. Then say `hello` again.

{WORDS}
I can also ask for tools: type `three`, allow the commands, and stop only the middle one. Type `help` to
see all words.
"""
)

HELP = _flow(
    f"""\
## What you can try here

{WORDS}
With tools there is more to stop. Each asks you first, unless you have allowed it already, and none does
harm:

{TOOL_WORDS}
**Esc** stops me in each of these, at any moment, with one press. After a stop, `/continue` lets me go
on where I was. Anything else that you type I quote back to you, for I am scripted and understand
nothing.

{REAL_MODEL}"""
)

SCRIPTED = _flow(
    f"""\
I have no answer to that, because I am not a language model. I am the demo: a script that knows a
few words. Type `help` to see them, or `long` for something to stop.

{REAL_MODEL}"""
)

THOUGHT = _flow(
    """\
The user wants to see me think. I cannot think, but I can show where thoughts would appear: before the
answer, dimmed and folded away, because they are seldom what one came for. A real model that reasons
sends its thoughts in a channel of their own, and so do I. They can be stopped like everything else.
"""
)

THOUGHTS_SHOWN = _flow(
    """\
What you saw above this line came through the channel in which models send their reasoning. It stays
folded unless you open it, and Esc works there as well: a model that thinks too long is a good reason
to stop it.
"""
)

LONG_THOUGHT = _flow(
    """\
A long reply is asked for. I will tell a short history of stopping, and then count lines, so that the
last line on the screen can be compared with the last one that I sent.
"""
)

STALL = _flow(
    """\
I will now stop in the middle of a sentence and keep the connection open. No error, no end, just
silence; this is what a stalled provider looks like. Many programs wait here for minutes. Press
**Esc** whenever you have seen enough of my\
"""
)

CUT = _flow(
    """\
In a moment I will hang up without saying goodbye. A reply that breaks off like this could look as if
it were complete, and that would be worse than an error. Watch how Caesura tells the diff\
"""
)

FAST_END = _flow(
    """\

Those were 5,000 pieces. The transcript keeps every one of them; scroll up with PageUp to check. Send
`fast` once more and press **Esc** early: the screen stays where it is, however much was on its way.
"""
)

FAILURE = "This failure is scripted: you asked the demo for an error."

NOTHING_TO_CONTINUE = _flow(
    """\
There is nothing of mine that was broken off, so there is nothing to continue. Type `long`, press
**Esc** in the middle, and then `/continue`.
"""
)

MARKDOWN = _flow((FOLDER / "sample.txt").read_text("utf-8"))
ESSAY = _flow((FOLDER / "essay.txt").read_text("utf-8"))

COUNT_TO = 320


def long_text() -> str:
    """The text for `long`: the essay, then numbered lines; about 3,500 words."""
    lines = (f"- line {n} of {COUNT_TO}, and still talking\n" for n in range(1, COUNT_TO + 1))
    return f"{ESSAY}\n{''.join(lines)}\nNobody has stopped me. Next time, perhaps: that is what Esc is for.\n"
