"""The prepared texts of the demo model. Data only: what is said when is decided in `demo_script`.

Nothing here may claim that a language model is at work, or promise what Caesura does not do.
"""

from __future__ import annotations

import re

_BLOCK = re.compile(r"\s*(?:[-*+] |[|#>]|\d+[.)] |```)|\s*$")


def _flow(text: str) -> str:
    """`text` with each paragraph on one line, as models send it: the width is the reader's, not ours."""
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

MARKDOWN = _flow(
    """\
# A first heading

Text with **weight**, with *emphasis*, with `code`, ~~crossed out~~, and with a
[link to the Markdown specification](https://spec.commonmark.org/).

## Lists

1. First things first.
2. Then a list inside the list:
   - tea, with or without milk
   - coffee
     - black
     - not so black
3. And an item with a second paragraph.

   Here it is.

- [x] draw the tree
- [ ] climb it

## A quotation

> The right word may be effective, but no word was ever as effective as a rightly timed pause.
>
> > Attributed to Mark Twain, like most good lines.

## A table

| instrument | strings | tuned in |   price |
|:-----------|:-------:|:--------:|--------:|
| violin     |    4    |  fifths  | 1,200 € |
| 三味線      |    3    |  varies  | ¥98,000 |
| عود        |   11    | fourths  |   640 £ |
| ukulele 🌺 |    4    |   GCEA   |    79 $ |

## Code

```python
from collections.abc import Iterator


def fibonacci(below: int) -> Iterator[int]:
    \"\"\"The Fibonacci numbers smaller than `below`.\"\"\"
    a, b = 0, 1
    while a < below:
        yield a
        a, b = b, a + b
```

```rust
fn main() {
    let words = ["stop", "wait", "go"];
    for (n, word) in words.iter().enumerate() {
        println!("{n}: {word}");
    }
}
```

```sh
git log --oneline --since="2 weeks ago" | grep -i esc | wc -l
```

```diff
- while not done: pass
+ await done.wait()
```

```json
{"name": "caesura", "pause": true, "beats": [1, 2, null, 4]}
```

## Scripts of the world

- Wide: 日本語のテキスト, 한국어, 中文，标点也宽
- Right to left: שלום עולם, مرحبا بالعالم, and back again
- Combining: é à ñ as one letter and its mark; नमस्ते; ไทย
- Emoji: 👩‍💻 👨‍👩‍👧‍👦 🇳🇿 🏳️‍🌈 ✈️ and plain ☕

---

A last line with a very long word that has to break somewhere:
Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz.
"""
)

ESSAY = _flow(
    """\
# A short history of stopping

*This text is prepared, like everything that I say. Press **Esc** whenever you like.*

## 1. The pause in the verse

Before there were buttons there were poets. A *caesura* is the cut in the middle of a line: the voice
stops, the listener breathes, and the second half lands with more weight than the first. Homer has one
in almost every line. Whoever prints Old English verse leaves a gap on the page for it, so that nobody
can overlook it.

> Hwæt! We Gardena · in geardagum,
> þeodcyninga · þrym gefrunon

The pause is not the absence of the poem. It is the part that the speaker controls.

## 2. The brake

For a long time, going was the problem and stopping was what happened afterwards. The steam locomotive
turned that around. The early trains had a brake on the engine and men on the roofs of the wagons, who
ran from wheel to wheel when the whistle blew. It worked on paper. It needed that everybody heard the
whistle, that everybody was awake, and that the train had not come apart.

In 1869 George Westinghouse gave a patent office the idea that changed it: compressed air in a pipe
along the whole train. His first version had a flaw. Air pressure *applied* the brakes, so a broken
pipe meant no brakes at all. Three years later he turned it upside down.

| system | pressure means | a broken pipe means |
|--------|----------------|---------------------|
| hand brakes | nothing | nobody notices |
| straight air, 1869 | braking | no brakes |
| automatic air, 1872 | **running** | the train stops |

That is the lesson that engineers have repeated ever since: stopping must not depend on the thing that
is broken. If the way to stop needs the cooperation of what should be stopped, it is a wish.

## 3. The red button

Every machine hall has one: red on yellow, shaped like a mushroom, so that a hand, an elbow or a falling
body can press it. The standards say what it has to do, and they are short:

1. It is within reach of whoever is in danger.
2. It works at every moment, in every mode, and overrules every other control.
3. It stays pressed. Releasing it must not start the machine again.
4. It needs no second press, no key, no confirmation.

None of these is about electronics. All of them are about people who are frightened and have half a
second. A stop that asks *are you sure?* has not understood the question.

## 4. The break key

Teleprinters spoke in marks and spaces over a single wire. While one side was sending, the other could
only listen, unless it forced the line into the wrong state for longer than any letter lasts. That was
the *break*: not a character but the refusal of all characters. It needed no free channel, because it
was made of the channel itself.

When terminals took over, the break became a key and then a character, and that was a step back. A
character has to be read before it can mean anything:

```python
while True:
    line = read_line()      # the stop is in here somewhere
    work_on(line)           # and nobody looks while this runs
```

The people who wrote Unix knew this, so they let the terminal driver look at every byte on its way and
turn `Ctrl+C` into a signal, which arrives whether the program is listening or not. And then programs
learned to catch the signal, and set a flag, and look at the flag when they found the time.

```c
static volatile sig_atomic_t stop = 0;

static void on_interrupt(int signal) { stop = 1; }   /* noted, thank you */
```

We are back on the roof of the wagon, waiting for somebody to hear the whistle.

## 5. The key in the corner

The escape key was invented in 1960 by Bob Bemer, who wanted a way out: a character that tells the
machine *what follows is in another code*. It was not meant for stopping anything. It became the way to
leave, because it sits in the corner of the keyboard where a hand finds it without looking.

It is also the first byte of every arrow key, every function key and every colour on a terminal. A
program that reads an escape byte does not know whether a person wants to leave or has pressed *up*.
Most programs wait a while to find out. A tenth of a second is usual. At my pace that is four words
that you did not want to read.

## 6. What has to end

So a key was pressed, and somebody has heard it. What does it mean to have stopped? There is a ladder:

- The text on the screen stops growing. *That is paint.*
- The program no longer waits for the answer. *That is forgetting.*
- The request is cancelled in the library. *That is a promise.*
- The connection is closed, and the other side has seen it. *That is stopping.*

Only at the last rung does the server stop working for you, and stop counting. Everything above it looks
the same from where you sit, and that is why it is worth asking what a program means when it says that it
has stopped. The honest answer has a number in it.

```text
you            Caesura                    the server
 │   Esc         │                            │
 ├──────────────▶│   the connection closes    │
 │               ├───────────────────────────▶│  "41 words, then nobody"
 │   stopped     │                            │
 │◀──────────────┤                            │
```

## 7. What stays

A good stop is not a destruction. When the fermata ends, the orchestra still knows the piece. What was
said before the pause has been said: it belongs to the conversation, and the next sentence may lean on
it. What was not said was not said, and nobody should pretend otherwise.

So there are two kinds of stop, and both should leave things tidy. If nothing had been said yet, it
should be as if nothing had been asked: the question goes back to where it was typed, ready to be put
better. If something had been said, it stays, marked as broken off, and can be continued:

> "As I was saying," said the lecturer, and it was true.

## 8. The count

That is the end of the story. What follows are numbered lines and nothing else. Stop me anywhere in
them, and compare: the last line on your screen, and the last line that I say I sent.

"""
)

COUNT_TO = 320


def long_text() -> str:
    """The text for `long`: the essay, then numbered lines; about 3,500 words."""
    lines = (f"- line {n} of {COUNT_TO}, and still talking\n" for n in range(1, COUNT_TO + 1))
    return f"{ESSAY}{''.join(lines)}\nNobody has stopped me. Next time, perhaps: that is what Esc is for.\n"
