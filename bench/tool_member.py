"""The workers of `bench.tools`: Galerne's own, and one that answers requests with nats-py alone."""

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
import nats
from nats.aio.msg import Msg

from galerne.bus.background import background
from galerne.bus.connection import connect
from galerne.bus.topology import provision
from galerne.cli.logs import configure
from galerne.cli.runner import Stopping, run_service
from galerne.messages.tools import CallTool
from galerne.runtime.roles import worker_name
from galerne.runtime.spool import Spool
from galerne.runtime.tool_host import ToolHost
from galerne.settings import BusSettings, Settings, ToolSettings, WorkerSettings
from galerne.tools import tool

PLACES = 64
PLAIN = "plain.add"
"""The subject of the worker that is nothing but nats-py."""


class Plain(msgspec.Struct, tag="result", tag_field="type"):
    """Its answer: as much as a tool's result says."""

    value: int
    content: str


@tool
async def add(left: int, right: int) -> int:
    """Add two numbers."""
    return left + right


@tool(effect="idempotent")
async def add_kept(left: int, right: int) -> int:
    """Add two numbers, and keep the result by the call's key."""
    return left + right


def settings_of(server: str, spool: str) -> Settings:
    return Settings(
        bus=BusSettings(server=server),
        worker=WorkerSettings(spool=spool),
        tools=ToolSettings(concurrency=PLACES),
    )


async def _galerne(server: str, spool: str, stopping: Stopping) -> int:
    settings, me, started = settings_of(server, spool), worker_name("tools"), anyio.Event()
    async with connect(settings.bus, me) as bus, background(partial(_say_ready, started)):
        await provision(bus, settings)
        kept = Spool(Path(spool), me)
        kept.open()
        try:
            tools = {"add": add, "add_kept": add_kept}
            host = ToolHost(bus, me, tools, kept, settings, time.time)
            await host.run(stopping.event, started)
        finally:
            kept.close()
    return 0


async def _plain(server: str, _: str, stopping: Stopping) -> int:
    """A handler as people write it: decode what was typed, answer."""
    decode, encode = msgspec.json.Decoder(CallTool).decode, msgspec.json.Encoder().encode
    client: Any = await nats.connect(server)

    async def answer(message: Msg) -> None:
        arguments = decode(message.data).arguments
        total = arguments["left"] + arguments["right"]
        await client.publish(message.reply, encode(Plain(total, str(total))))

    await client.subscribe(PLAIN, queue="tools", cb=answer)
    await client.flush()
    started = anyio.Event()
    started.set()
    await _say_ready(started)
    await stopping.event.wait()
    await client.close()
    return 0


async def _say_ready(started: anyio.Event) -> None:
    await started.wait()
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def main() -> int:
    role, server, spool = sys.argv[1:]
    configure("error", "json")
    return run_service(partial({"galerne": _galerne, "plain": _plain}[role], server, spool))


if __name__ == "__main__":
    sys.exit(main())
