"""The work queue beside Galerne: the same tasks, as fast as plain nats-py and JetStream do them.

    dispatcher (the benchmark's process) ── task.<n> ──▶ TASKS, a work queue on disk
    worker process: standing pull, synchronous callback ── result.<n> ──▶ RESULTS, on disk too
    dispatcher: standing pull, acknowledges, publishes the tasks that waited for the result

It promises little: no claims, no journal, no write-once log, no plan; what a message costs is all
that it shows. A task is acknowledged when its result is stored, many publishes are on their way
at once, and no acknowledgement is waited for one at a time.
"""

import itertools
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import nats
from bench.fleet import CONCURRENCY, PATIENCE, SETTLE, Cost, CpuMeter
from bench.processes import python_process
from bench.shapes import Shape, needs
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StorageType, StreamConfig

from galerne.bus.server import NatsServer
from galerne.cli.runner import Stopping, run_service

WINDOW = CONCURRENCY
GATHERED = 128
"""Publishes on their way at once while a load begins."""
EXPIRES = 30_000_000_000
"""Nanoseconds that a pull stands."""


class Task(msgspec.Struct, frozen=True):
    """A task's message; `load` tells the loads apart."""

    load: int
    job: int
    number: int


class Result(msgspec.Struct, frozen=True):
    load: int
    job: int
    number: int
    value: str


_encode = msgspec.json.Encoder().encode
_task = msgspec.json.Decoder(Task).decode
_result = msgspec.json.Decoder(Result).decode


class Stored:
    """Publishes whose acknowledgements come to one inbox, each to its own function."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._inbox = client.new_inbox()
        self._numbers = itertools.count(1)
        self._waiting: dict[str, Callable[[], None]] = {}

    async def open(self) -> None:
        await self._client.subscribe(f"{self._inbox}.*", cb=self._on_answer)

    async def publish(self, subject: str, data: bytes, stored: Callable[[], None]) -> None:
        """Send; `stored` is called when the stream has it."""
        token = str(next(self._numbers))
        self._waiting[token] = stored
        await self._client.publish(subject, data, reply=f"{self._inbox}.{token}")

    async def _on_answer(self, message: Msg) -> None:
        if message.data.startswith(b'{"error"'):
            raise RuntimeError(message.data.decode())
        self._waiting.pop(message.subject.rpartition(".")[2])()


class Pull:
    """A standing pull from one durable, with a synchronous-minded callback."""

    def __init__(self, client: Client, stream: str, on_message: Callable[[Msg], None]) -> None:
        self._client = client
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{stream}"
        self._inbox = client.new_inbox()
        self._on_message = on_message
        self._coming = 0

    async def open(self) -> None:
        await self._client.subscribe(self._inbox, cb=self._receive, pending_msgs_limit=-1)
        await self._ask()

    async def _ask(self) -> None:
        body = {"batch": WINDOW - self._coming, "expires": EXPIRES}
        self._coming = WINDOW
        await self._client.publish(self._subject, _encode(body), reply=self._inbox)

    async def _receive(self, message: Msg) -> None:
        if message.headers and "Status" in message.headers:  # it has expired, so it was idle
            self._coming = 0
            await self._ask()
            return
        self._coming -= 1
        if self._coming * 2 <= WINDOW:
            await self._ask()
        self._on_message(message)


class Outbox:
    """What synchronous callbacks want sent, sent in one go by a task of its own."""

    def __init__(self, stored: Stored, client: Client) -> None:
        self._stored = stored
        self._client = client
        self._publishes: list[tuple[str, bytes, Callable[[], None]]] = []
        self._acks: list[str] = []
        self._wake = anyio.Event()

    def publish(self, subject: str, data: bytes, stored: Callable[[], None]) -> None:
        self._publishes.append((subject, data, stored))
        self._wake.set()

    def acknowledge(self, message: Msg) -> None:
        self._acks.append(message.reply)
        self._wake.set()

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            publishes, self._publishes = self._publishes, []
            acks, self._acks = self._acks, []
            for publish in publishes:
                await self._stored.publish(*publish)
            for reply in acks:
                await self._client.publish(reply, b"+ACK")


async def provision(client: Client) -> None:
    """Both work queues with their one consumer each."""
    context = client.jetstream()
    for stream in ("TASKS", "RESULTS"):
        await context.add_stream(
            StreamConfig(
                name=stream,
                subjects=[f"{stream.lower()}.>"],
                retention=RetentionPolicy.WORK_QUEUE,
                storage=StorageType.FILE,
            )
        )
        consumer = ConsumerConfig(
            durable_name=stream, ack_policy=AckPolicy.EXPLICIT, max_ack_pending=20_000
        )
        await context.add_consumer(stream, consumer)


async def work(server: str, stopping: Stopping) -> int:
    """The worker process: do nothing for each task, and say so."""
    client = await nats.connect(server)
    stored = Stored(client)
    await stored.open()
    outbox = Outbox(stored, client)

    def on_task(message: Msg) -> None:
        task = _task(message.data)
        data = _encode(Result(task.load, task.job, task.number, "done"))
        outbox.publish("results.1", data, lambda: outbox.acknowledge(message))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outbox.run)
        await Pull(client, "TASKS", on_task).open()
        await client.flush()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await stopping.event.wait()
        tasks.cancel_scope.cancel()
    await client.close()
    return 0


class Dispatcher:
    """Publishes the tasks of a load as their needs are met, and waits for all results."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._load = 0
        self._missing: dict[tuple[int, int], int] = {}
        self._children: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self._ready: list[tuple[int, int]] = []
        self._on_the_way = 0
        self._left = 0
        self._all = anyio.Event()

    async def run(self, shape: Shape) -> None:
        self._load += 1
        self._missing, self._children, self._ready = {}, {}, []
        self._left, self._all = shape.tasks, anyio.Event()
        for job in range(shape.jobs):
            for number in range(shape.size):
                wanted = needs(shape.form, shape.size, number)
                self._missing[job, number] = len(wanted)
                for need in wanted:
                    self._children.setdefault((job, need), []).append((job, number))
                if not wanted:
                    self._ready.append((job, number))
        self._ready.reverse()
        self._send()
        with anyio.fail_after(PATIENCE):
            await self._all.wait()

    def on_result(self, message: Msg) -> None:
        result = _result(message.data)
        self._outbox.acknowledge(message)
        if result.load != self._load:
            return
        self._left -= 1
        if not self._left:
            self._all.set()
        for child in self._children.get((result.job, result.number), ()):
            self._missing[child] -= 1
            if not self._missing[child]:
                self._ready.append(child)
        self._send()

    def _send(self) -> None:
        while self._ready and self._on_the_way < GATHERED:
            job, number = self._ready.pop()
            self._on_the_way += 1
            self._outbox.publish("tasks.1", _encode(Task(self._load, job, number)), self._stored)

    def _stored(self) -> None:
        self._on_the_way -= 1
        self._send()


class QueueSide:
    """The running queue."""

    def __init__(self, dispatcher: Dispatcher, pids: dict[str, int]) -> None:
        self._dispatcher = dispatcher
        self._pids = pids

    async def run(self, shape: Shape) -> Cost:
        meter = CpuMeter(self._pids)
        begun = time.perf_counter()
        await self._dispatcher.run(shape)
        wall = time.perf_counter() - begun
        await anyio.sleep(SETTLE)
        return Cost(shape.tasks, wall, meter.spent())


@asynccontextmanager
async def queue_side(folder: Path) -> AsyncGenerator[QueueSide]:
    """The queue on a nats-server of its own, warm, for as long as the context lasts."""
    async with AsyncExitStack() as stack:
        server = NatsServer(folder / "queue")
        await server.start()
        stack.push_async_callback(server.stop)
        client = await nats.connect(server.url)
        stack.push_async_callback(client.close)
        await provision(client)
        process = python_process(folder / "queue.log", "bench.queue", server.url)
        pids = {"nats-server": server.pid, "worker": await stack.enter_async_context(process)}
        stored = Stored(client)
        await stored.open()
        outbox = Outbox(stored, client)
        dispatcher = Dispatcher(outbox)
        await Pull(client, "RESULTS", dispatcher.on_result).open()
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(outbox.run)
        side = QueueSide(dispatcher, pids)
        await side.run(Shape("fan", 20, 5))
        yield side


def main() -> int:
    return run_service(lambda stopping: work(sys.argv[1], stopping))


if __name__ == "__main__":
    sys.exit(main())
