"""A server that speaks MCP badly on purpose, without any package: run it with the name of a way."""

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

WAY = sys.argv[1]
GROWN: list[dict[str, Any]] = []
SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}
BOMB = {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}


def say(**message: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def requests() -> Iterator[dict[str, Any]]:
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            yield message


def tools() -> list[dict[str, Any]]:
    good: dict[str, Any] = {"name": "good", "inputSchema": SCHEMA}
    match WAY:
        case "schemas":
            odd: list[dict[str, Any]] = [
                {
                    "name": "array",
                    "inputSchema": {"type": "object", "properties": {"a": {"type": 7}}},
                },
                {"name": "🦊", "inputSchema": SCHEMA},
                {"name": "n" * 200, "inputSchema": SCHEMA},
                {"name": "pattern", "inputSchema": BOMB},
                {"name": "deep", "inputSchema": {"type": "object", "properties": {"a": deep(90)}}},
            ]
            return [*odd, good]
        case "nothing":
            return []
        case _:
            return [good, *GROWN]


def deep(levels: int) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": deep(levels - 1)}} if levels else {}


def listed(message: dict[str, Any]) -> dict[str, Any]:
    if WAY == "endless":
        many: list[dict[str, Any]] = [{"name": f"t{i}", "inputSchema": SCHEMA} for i in range(20)]
        return {"tools": many, "nextCursor": str(time.monotonic())}
    if WAY == "pages":
        return {"tools": [], "nextCursor": str(time.monotonic())}
    if WAY == "no list":
        return {"tools": "many"}
    return {"tools": tools()}


def answer(message: dict[str, Any]) -> None:
    sys.stderr.write("\x1b[31mred\x1b[0m\n")
    match WAY:
        case "huge":
            sys.stdout.write("x" * 3_000_000)
            sys.stdout.flush()
            time.sleep(60)
        case "nonsense":
            say(id=message["id"], result={"content": [{"type": "hologram"}]})
        case "no base64":
            picture = {"type": "image", "data": "§§", "mimeType": "image/png"}
            say(id=message["id"], result={"content": [picture]})
        case "many files":
            picture = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
            say(id=message["id"], result={"content": [picture] * 200})
        case "large":
            say(id=message["id"], result={"content": [{"type": "text", "text": "y" * 900_000}]})
        case "chatter":
            for _ in range(2_000):
                sys.stdout.write("this is a print\n")
                sys.stderr.write("and this a log line\n")
            say(id="another", result={})
            say(id=message["id"], result={"content": [{"type": "text", "text": "fine"}]})
        case "silent":
            pass
        case "grows":
            GROWN.append({"name": f"good{len(GROWN)}", "inputSchema": SCHEMA})
            say(method="notifications/tools/list_changed")
            say(id=message["id"], result={"content": []})
        case _:
            say(id=message["id"], result={"content": [], "isError": WAY == "no reason"})


for one in requests():
    match one["method"]:
        case "initialize" if WAY == "mute":
            pass
        case "initialize":
            say(
                id=one["id"],
                result={
                    "protocolVersion": one["params"]["protocolVersion"],
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "hostile", "version": "0 rm -rf"},
                },
            )
        case "tools/list":
            say(id=one["id"], result=listed(one))
        case "tools/call":
            answer(one)
        case _ if WAY != "mute":
            say(id=one["id"], error={"code": -32601, "message": "no such method"})
        case _:
            pass
