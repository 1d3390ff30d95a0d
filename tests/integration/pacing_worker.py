"""A process that asks an endpoint without end: `python pacing_worker.py NATS_URL ENDPOINT RATE`."""

import itertools
import sys

import anyio

from galerne.bus.connection import connect
from galerne.bus.pacing import PaceBoard
from galerne.errors import TransientError
from galerne.messages.chat import ChatMessage, ChatRequest
from galerne.models import ModelPool, open_model
from galerne.settings import BusSettings, RoleSettings

REQUEST = ChatRequest((ChatMessage("user", "Hi"),))


async def ask_on(pool: ModelPool, name: str) -> None:
    for n in itertools.count():
        try:
            await pool.ask(REQUEST, key=f"{name}.{n}")
        except TransientError as error:
            await anyio.sleep(error.retry_after or 0.5)


async def work(server: str, endpoint: str, rate: float | None, name: str, tasks: int = 8) -> None:
    """Be a worker with its own connection, until cancelled."""
    role = RoleSettings(endpoint=endpoint, rate=rate, backend="openai")
    async with (
        connect(BusSettings(server=server), name) as bus,
        open_model(role, board=PaceBoard(bus, name)) as pool,
        anyio.create_task_group() as group,
    ):
        for _ in range(tasks):
            group.start_soon(ask_on, pool, name)


if __name__ == "__main__":
    anyio.run(work, sys.argv[1], sys.argv[2], float(sys.argv[3]), "executor-killed")
