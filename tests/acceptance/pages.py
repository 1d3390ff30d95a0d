"""What the tests of written pages share: the code blocks of a page, and a fleet to try them on."""

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec

from galerne.runtime.roles import Role, serve
from galerne.settings import BusSettings, RoleSettings, Settings, ToolSettings, WorkerSettings
from galerne.testing import StandIn, nats_server

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(r"^```(?P<info>[^\n`]+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(msgspec.Struct, frozen=True):
    """A fenced block: its language, what else its first line says, the line it begins on."""

    language: str
    label: str
    text: str
    line: int


def blocks(page: Path, language: str) -> list[Block]:
    """The blocks of a page in one language, in their order."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    for match in _BLOCK.finditer(text):
        word, _, label = match["info"].strip().partition(" ")
        if word == language:
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(word, label.strip(), match["text"], line))
    return found


class Running(msgspec.Struct, frozen=True):
    """Where a fleet of a test is: the URLs of its NATS server and of its stand-in."""

    server: str
    endpoint: str


@asynccontextmanager
async def fleet(
    folder: Path, roles: Sequence[Role], root: Path | None = None
) -> AsyncGenerator[Running]:
    """Workers of these roles in this process, on a server and a stand-in of their own.

    `folder` holds the spool; `root` is what the file tools may read, `folder` by default.
    """
    async with nats_server() as server, StandIn() as models:
        settings = Settings(
            bus=BusSettings(server=server.url),
            planner=RoleSettings(endpoint=models.url, model="mixtral-8x22b"),
            executor=RoleSettings(endpoint=models.url, model="mistral-7b"),
            worker=WorkerSettings(spool=str(folder / "spool")),
            tools=ToolSettings(root=str(root or folder)),
        )
        stop = anyio.Event()
        async with anyio.create_task_group() as tasks:
            for role in roles:
                started = anyio.Event()
                tasks.start_soon(serve, role, settings, stop, started)
                with anyio.fail_after(20):
                    await started.wait()
            try:
                yield Running(server.url, models.url)
            finally:
                stop.set()
