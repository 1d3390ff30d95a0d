"""Reading the streams of a fleet into its evidence, with a plain NATS client.

galerne's log, its tool journal, its conversations ─▶ log.jsonl, journal.jsonl, turns.jsonl
                                                      one message a line, in order
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error

from chaos.plain import connect

STREAMS = {"log": "EVENTS", "journal": "TOOLJ", "turns": "SESSIONS"}
BATCH = 500
COLLECTING = 60.0
"""Seconds that reading a stream may take, servers on their way back included."""


async def collect(url: str, folder: Path, prefix: str = "galerne") -> None:
    """Read the streams into the evidence."""
    client = await connect(url)
    try:
        with anyio.fail_after(COLLECTING):
            for name, stream in STREAMS.items():
                messages = await _read(client, f"{prefix.upper()}_{stream}")
                lines = "".join(f"{json.dumps(message)}\n" for message in messages)
                (folder / f"{name}.jsonl").write_text(lines, "utf-8")
    finally:
        await client.close()


async def _read(client: Client, stream: str) -> list[dict[str, Any]]:
    """Every message that the stream's leader holds, by direct gets, in order."""
    found: dict[int, dict[str, Any]] = {}
    while True:
        try:
            info = json.loads((await client.request(f"$JS.API.STREAM.INFO.{stream}", b"")).data)
            state = info["state"]
            await _read_until(client, stream, state["first_seq"], state["last_seq"], found)
        except (Error, OSError, KeyError, TimeoutError):
            await anyio.sleep(0.2)
            continue
        if len(found) >= state["messages"]:
            return [found[sequence] for sequence in sorted(found)]
        await anyio.sleep(0.2)  # a replica that lags behind has answered


async def _read_until(
    client: Client, stream: str, first: int, last: int, found: dict[int, dict[str, Any]]
) -> None:
    inbox = client.new_inbox()
    replies = await client.subscribe(inbox)  # pyright: ignore[reportUnknownMemberType] - its future is untyped
    try:
        while first <= last:
            asked = {"batch": BATCH, "seq": first, "next_by_subj": ">"}
            body = json.dumps(asked).encode()
            await client.publish(f"$JS.API.DIRECT.GET.{stream}", body, reply=inbox)
            begun = first
            while (message := _stored(await replies.next_msg(timeout=2))) is not None:
                found[message["sequence"]] = message
                first = message["sequence"] + 1
            if first == begun:
                return
    finally:
        await replies.unsubscribe()


def _stored(message: Msg) -> dict[str, Any] | None:
    """A message of the stream; None for the status that closes a batch."""
    headers = message.headers or {}
    if "Nats-Sequence" not in headers:
        return None
    return {
        "subject": headers["Nats-Subject"],
        "sequence": int(headers["Nats-Sequence"]),
        "time": _seconds(headers["Nats-Time-Stamp"]),
        "data": message.data.decode("utf-8", "backslashreplace"),
    }


def _seconds(stamp: str) -> float:
    head, _, rest = stamp.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{head}+00:00").timestamp() + float(f"0.{rest or 0}")
