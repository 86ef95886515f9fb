"""An MCP server of the tests in bare JSON lines: it misbehaves as it is told, and writes down what it got.

    python -I mcp_own.py RECORD [MODE ...]

Each message that it reads becomes a line of RECORD: its method, and the time of `time.monotonic()`. It must
never import the SDK: that would behave.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

RECORD = Path(sys.argv[1])
MODES = frozenset(sys.argv[2:])
"""silent: never answers. broken: ends at once, with a word on stderr. garbage: writes more than messages.
flood: writes to stderr without end. stubborn: stays when its input closes, and ignores SIGTERM.
pages: a list of tools without end. deaf: stops reading once `hang` is called. odd: lists odd tools too."""

SCHEMA = {"type": "object", "properties": {"value": {"type": "string", "title": "A title"}}}
NAMES = [
    "echo", "hang", "die", "huge", "endless", "daemon",
    "grow", "ask", "environment", "steps", "kinds", "refuse", "obey", "late", "finish", "say", "file",
]  # fmt: skip
ODD: list[Any] = [
    {"name": "empty", "inputSchema": {}},
    {"name": "hinted", "inputSchema": SCHEMA, "annotations": {"readOnlyHint": "yes"}, "description": 7},
    {"name": "unhinted", "inputSchema": SCHEMA, "annotations": [], "outputSchema": [], "icons": 3},
    {"name": "null", "inputSchema": None},
    {"name": "list", "inputSchema": [SCHEMA]},
    {"name": "text", "inputSchema": {"type": "string"}},
    {"name": "fields", "inputSchema": {"type": "object", "properties": {"value": "string"}}},
    {"name": "required", "inputSchema": {"type": "object", "required": "value"}},
    {"inputSchema": SCHEMA},
    "no tool at all",
]
STOPPABLE: dict[Any, dict[str, Any]] = {}
"""Running calls: of `obey`, which answers a stop, and of `late`, which goes on until `finish` is called."""
_lock = threading.Lock()
_answers: dict[str, Any] = {}
_answered = threading.Condition()


def send(message: dict[str, Any]) -> None:
    with _lock:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()


def answer(request: dict[str, Any], result: dict[str, Any]) -> None:
    send({"id": request["id"], "result": result})


def text(request: dict[str, Any], words: str, **more: Any) -> None:
    answer(request, {"content": [{"type": "text", "text": words}], **more})


def ask(method: str, params: dict[str, Any]) -> Any:
    """Ask the client, and wait for what it says."""
    with _answered:
        send({"id": method, "method": method, "params": params})
        _answered.wait_for(lambda: method in _answers)
        return _answers.pop(method)


def daemon(value: str) -> None:
    """Leave a grandchild in a session of its own that knows no SIGTERM, with `value` in its command line."""
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-I", "-c", script, value], start_new_session=True)


def call(request: dict[str, Any]) -> None:
    params = request["params"]
    value = params.get("arguments", {}).get("value", "")
    match params["name"]:
        case "echo":
            text(request, value)
        case "hang":
            while "deaf" in MODES:
                time.sleep(60)
        case "die":
            print("the disk is on fire", file=sys.stderr, flush=True)
            os._exit(3)
        case "huge":
            text(request, "x" * int(value))
        case "endless":
            sys.stdout.write("{" + "x" * int(value))
            sys.stdout.flush()
        case "daemon":
            daemon(value)
            text(request, "started")
        case "grow":
            NAMES.append(value)
            send({"method": "notifications/tools/list_changed"})
            text(request, "grown")
        case "ask":
            # In a thread, for the answers come to the main one.
            threading.Thread(target=_ask_all, args=(request,), daemon=True).start()
        case "environment":
            text(request, json.dumps(dict(os.environ)))
        case "steps":
            token = params["_meta"]["progressToken"]
            step = {"progressToken": token, "progress": 1, "total": 3, "message": "half\nway"}
            send({"method": "notifications/progress", "params": step})
        case "kinds":
            answer(request, {"content": _kinds(), "structuredContent": {"n": 1}})
        case "obey" | "late":
            STOPPABLE[request["id"]] = request
        case "finish":
            finish(value)
            text(request, "finished")
        case "say":
            answer(request, json.loads(value))
        case "file":
            answer(request, json.loads(Path(value).read_text()))
        case "refuse":
            text(request, "no such thing", isError=True)
        case name:
            send({"id": request["id"], "error": {"code": -32602, "message": f"unknown tool {name}"}})


def progress(request: dict[str, Any], words: str) -> None:
    token = request["params"]["_meta"]["progressToken"]
    step = {"progressToken": token, "progress": 2, "total": 3, "message": words}
    send({"method": "notifications/progress", "params": step})


def cancelled(number: Any) -> None:
    """A stop has come: `obey` ends, `late` goes on."""
    request = STOPPABLE.get(number)
    match request and request["params"]["name"]:
        case "obey":
            send({"id": number, "error": {"code": 0, "message": "Request cancelled"}})
        case "late":
            progress(request or {}, "still at it")


def finish(how: str) -> None:
    """End all calls of `late`: with a result, or with an `error`."""
    for number, request in STOPPABLE.items():
        if how == "error":
            send({"id": number, "error": {"code": -32000, "message": "gave up"}})
        else:
            text(request, "a late result")
    STOPPABLE.clear()


def _ask_all(request: dict[str, Any]) -> None:
    form = {"message": "who?", "requestedSchema": {"type": "object", "properties": {}}}
    said = [
        ask("roots/list", {}),
        ask("sampling/createMessage", {"messages": [], "maxTokens": 1}),
        ask("elicitation/create", form),
    ]
    text(request, json.dumps(said))


def _kinds() -> list[dict[str, Any]]:
    return [
        {"type": "text", "text": "words"},
        {"type": "image", "mimeType": "image/png", "data": "AAAA" * 100},
        {"type": "audio", "mimeType": "audio/wav", "data": "AAAA"},
        {"type": "resource_link", "name": "notes", "uri": "file:///notes.txt"},
        {"type": "resource", "resource": {"uri": "file:///a.txt", "text": "inside"}},
        {"type": "resource", "resource": {"uri": "file:///b", "mimeType": "x/y", "blob": "AAAA"}},
    ]


def listed(params: dict[str, Any]) -> dict[str, Any]:
    if "pages" in MODES:
        number = int(params.get("cursor") or 0)
        return {"tools": [{"name": f"t{number}", "inputSchema": SCHEMA}], "nextCursor": str(number + 1)}
    # Two pages.
    half = len(NAMES) // 2
    names, after = (NAMES[half:], None) if params.get("cursor") else (NAMES[:half], "rest")
    tools = [
        {"name": name, "inputSchema": SCHEMA, "annotations": {"readOnlyHint": name == "echo"}}
        for name in names
    ]
    odd = ODD if "odd" in MODES and after else []
    return {"tools": [*odd, *tools], **({"nextCursor": after} if after else {})}


def handle(message: dict[str, Any]) -> None:
    method = message.get("method")
    with RECORD.open("a") as record:
        record.write(f"{method} {time.monotonic()}\n")
    match method:
        case None:
            with _answered:
                _answers[message["id"]] = message.get("result") or message.get("error")
                _answered.notify_all()
        case "initialize":
            version = message["params"]["protocolVersion"]
            info = {"name": "own", "version": "1"}
            capabilities = {"tools": {"listChanged": True}}
            answer(message, {"protocolVersion": version, "capabilities": capabilities, "serverInfo": info})
        case "tools/list":
            answer(message, listed(message.get("params") or {}))
        case "tools/call":
            call(message)
        case "ping":
            answer(message, {})
        case "notifications/cancelled":
            cancelled(message["params"]["requestId"])
        case _:
            pass


def flood() -> None:
    while True:
        print("E" * 1000, file=sys.stderr)


def main() -> None:
    with RECORD.open("a") as record:
        record.write(f"started {time.monotonic()}\n")
    if "broken" in MODES:
        sys.exit("the config is missing")
    if "stubborn" in MODES:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "flood" in MODES:
        threading.Thread(target=flood, daemon=True).start()
    if "garbage" in MODES:
        print("Welcome!\n\n{not json}\n[1, 2]\n\xff\n" + "{" * 5000, flush=True)
    for line in sys.stdin:
        if "silent" not in MODES:
            handle(json.loads(line))
    while "stubborn" in MODES:
        time.sleep(60)


if __name__ == "__main__":
    main()
