"""A server as a process of its own: `python -m tests.servers openai --script slow`.

The first line on standard output is `{"event": "listening", "url": ...}`; each later line is a `Seen` with
`time.monotonic()` times, which on one machine compare with those of any other process. A script's name on
standard input is the script of the requests that follow; its end ends the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from core.base.scheduling import run_soon
from core.model.messages import Usage
from tests.servers.registry import PROTOCOLS
from tests.servers.script import Call, Refusal, Refuse, Script, Silence, Stall, flood, prose

if TYPE_CHECKING:
    from tests.servers.record import Seen

SLOW_S = 0.02

SCRIPTS = {
    "hello": Script(),
    "slow": Script(text=("word ",), delay=SLOW_S, endless=True),
    "short": Script(text=("word ",) * 8, delay=SLOW_S),
    "stall": Script(text=("word ",) * 4, fault=Stall(after=3)),
    "silent": Script(fault=Silence()),
    "flood": flood(5000),
    "prose": prose(),
    "everyday": prose(delay=SLOW_S, endless=True),
    "endless": Script(text=("word " * 4 + "\n",), endless=True),
    "reasoning": Script(
        reasoning=("Let me ", "think."), usage=Usage(input_tokens=12, output_tokens=9, reasoning_tokens=2)
    ),
    "tools": Script(
        text=("I look.",),
        calls=(
            Call("call_1", "read", ('{"path"', ': "a.txt"}')),
            Call("call_2", "read", ('{"path"', ': "b.txt"}')),
        ),
    ),
    **{refusal.name.lower(): Script(fault=Refuse(refusal)) for refusal in Refusal},
}


def report(seen: Seen) -> None:
    print(json.dumps(asdict(seen)), flush=True)


async def serve(protocol: str, script: Script, port: int) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with PROTOCOLS[protocol].server(script, port=port, observer=report) as server:
        print(json.dumps({"event": "listening", "url": server.url, "port": server.port}), flush=True)
        while line := await reader.readline():
            server.script = SCRIPTS[line.decode().strip()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.servers", description=__doc__)
    parser.add_argument("protocol", choices=PROTOCOLS)
    parser.add_argument("--script", choices=SCRIPTS, default="hello")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--chunks", type=int, help="a flood of so many chunks instead of the script's text")
    parser.add_argument("--size", type=int, default=20, help="characters per chunk of --chunks")
    parser.add_argument("--delay", type=float, help="seconds between chunks")
    arguments = parser.parse_args()
    script = SCRIPTS[arguments.script]
    if arguments.chunks is not None:
        script = replace(script, text=flood(arguments.chunks, size=arguments.size).text)
    if arguments.delay is not None:
        script = replace(script, delay=arguments.delay)
    # What is measured is not how late this process sees it.
    run_soon()
    asyncio.run(serve(arguments.protocol, script, arguments.port))


if __name__ == "__main__":
    main()
