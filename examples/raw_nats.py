"""Submit a job with nothing but a NATS client, as a program in another language would.

GALERNE_SERVER=nats://127.0.0.1:4222 python examples/raw_nats.py

It imports nothing of Galerne: docs/protocol.md says all that it needs. Live messages are fast and
may be missed; the log is asked whenever they are silent.
"""

import asyncio
import hashlib
import json
import os
import sys
import zlib

import nats
from nats.aio.msg import Msg

SERVER = os.environ.get("GALERNE_SERVER", "nats://127.0.0.1:4222")
TENANT = "default"
KEY = "raw-example-1"
GOAL = "Compute 19 * 23, then count the words in README.md"
PARTITIONS = 8


async def main() -> int:
    """Give 0 for a job that succeeded, 1 for one that did not."""
    digest = hashlib.sha256(f"{TENANT}\0{KEY}".encode()).hexdigest()
    job = f"k-{digest[:24]}"
    part = zlib.crc32(job.encode()) % PARTITIONS
    ended: asyncio.Queue[bytes] = asyncio.Queue()

    async def on_live(message: Msg) -> None:
        print(message.subject)
        if message.subject == f"galerne.live.{TENANT}.{job}.end":
            ended.put_nowait(message.data)

    connection = await nats.connect(SERVER)
    try:
        await connection.subscribe(f"galerne.live.{TENANT}.{job}.>", cb=on_live)
        submit = json.dumps({"type": "submit", "goal": GOAL, "key": KEY}).encode()
        headers = {"Nats-Msg-Id": f"{TENANT}.{job}"}
        reply = await connection.request(f"galerne.submit.{TENANT}", submit, headers=headers)
        acknowledgement = json.loads(reply.data)
        if "error" in acknowledgement:
            print(acknowledgement["error"]["description"])
            return 1
        end_in_log = f"galerne.ev.{part}.{TENANT}.{job}.end"
        while True:
            try:
                end = await asyncio.wait_for(ended.get(), timeout=2)
            except TimeoutError:  # perhaps it was over before we listened: ask the log
                ask = f"$JS.API.DIRECT.GET.GALERNE_EVENTS.{end_in_log}"
                end = (await connection.request(ask, b"")).data  # empty: not over yet
            if end:
                break
    finally:
        await connection.close()
    print(json.dumps(json.loads(end), indent=2))
    return 0 if json.loads(end)["status"] == "succeeded" else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
