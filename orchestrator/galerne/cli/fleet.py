"""The processes behind `galerne up`, in the order in which they start; they stop in reverse."""

import fcntl
import os
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import msgspec

from galerne.bus.background import background
from galerne.bus.connection import connect
from galerne.bus.server import NatsServer
from galerne.bus.topology import provision
from galerne.cli.endpoints import BOTH, ModelRole, at_endpoint, resolve
from galerne.cli.options import environment
from galerne.cli.output import answer, note, say
from galerne.cli.runner import Stopping
from galerne.client.patience import shown
from galerne.errors import InvalidInputError, UnavailableError
from galerne.runtime.supervisor import Child, ProcessChild, Supervisor
from galerne.settings import RoleSettings, Settings

_START = 15.0
"""Seconds until a part that does not answer counts as broken."""
_MARGIN = 2.0
"""Seconds beyond the drain time until a worker that is still there is killed."""
_POLL = 0.1


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many processes of each role."""

    coordinator: int = 2
    planner: int = 1
    executor: int = 2
    tools: int = 1


class LocalFleet:
    """A fleet on this machine."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Path,
        port: int,
        counts: Counts,
        log_level: str,
        log_form: str,
    ) -> None:
        self._settings = settings
        self._store = store
        self._port = port
        self._counts = counts
        pretty = log_form == "pretty" or (log_form == "auto" and sys.stderr.isatty())
        self._logging = ["--log-level", log_level, "--log-form", "pretty" if pretty else "json"]

    async def run(self, stopping: Stopping) -> None:
        """Serve until a signal comes, then let the workers finish.

        Raises ChildFailedError, UnavailableError, InvalidInputError.
        """
        async with AsyncExitStack() as stack:
            resolved = await resolve(self._settings)
            settings = await stack.enter_async_context(self._server(resolved.settings))
            async with connect(settings.bus, "galerne up") as bus:
                await provision(bus, settings)  # from here on a job is stored, and waits
            server = settings.bus.server or ""
            answer(shown(server))
            note(
                f"hand it a job: galerne submit --server {shown(server)}"
                ' --wait "Count the words in README.md"'
            )
            if resolved.missing:
                settings = await stack.enter_async_context(self._models(settings, resolved.missing))
            grace = settings.worker.drain + _MARGIN
            await Supervisor().run(self._workers(settings), stopping.event, grace)

    @asynccontextmanager
    async def _models(
        self, settings: Settings, roles: Sequence[ModelRole]
    ) -> AsyncGenerator[Settings]:
        """Settings whose `roles` ask a stand-in process."""
        port = _free_port()
        child = self._process("stand-in", ["stand-in", "--port", str(port)], settings)
        async with _supervised(child, lambda: _answers(port)):
            yield at_endpoint(settings, roles, f"http://127.0.0.1:{port}")

    @asynccontextmanager
    async def _server(self, settings: Settings) -> AsyncGenerator[Settings]:
        """Settings with a server, if need be of our own."""
        if settings.bus.server:
            yield settings
            return
        with _locked(self._store):
            server = NatsServer(self._store.resolve() / "nats", self._port or -1)
            child = NatsChild(server)
            async with _supervised(child, child.answers):
                bus = msgspec.structs.replace(settings.bus, server=server.url)
                yield msgspec.structs.replace(settings, bus=bus)

    def _workers(self, settings: Settings) -> list[Child]:
        return [
            self._process(f"{role} {number}", ["worker", role], _of_role(settings, role))
            for role, count in msgspec.structs.asdict(self._counts).items()
            for number in range(1, count + 1)
        ]

    def _process(self, name: str, command: list[str], settings: Settings) -> ProcessChild:
        own = [sys.executable, "-m", "galerne", *command, "--parent", str(os.getpid())]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("GALERNE_")}
        return ProcessChild(name, [*own, *self._logging], {**kept, **environment(settings)}, say)


def _of_role(settings: Settings, role: str) -> Settings:
    """The settings without the keys of models that the role never asks: tools are others' code."""
    for other in BOTH:
        if role in {"coordinator", "tools"}:
            model: RoleSettings = getattr(settings, other)
            bare = msgspec.structs.replace(model, api_key=None, api_key_file=None)
            settings = msgspec.structs.replace(settings, **{other: bare})
    return settings


class NatsChild:
    """A nats-server to supervise: same port and same store in every life."""

    name = "nats-server"

    def __init__(self, server: NatsServer) -> None:
        self._server = server

    async def start(self) -> None:
        await self._server.stop()  # frees what is left of the last life
        await self._server.start()

    async def wait(self) -> int:
        while self._server.running:  # noqa: ASYNC110 - it has no event to wait for
            await anyio.sleep(_POLL)
        return 1

    async def stop(self, grace: float) -> None:  # noqa: ARG002 - as every child has it
        """It takes its own time, five seconds at most."""
        await self._server.stop()

    def last_words(self) -> str:
        return f"see {self._server.store / 'nats-server.log'}"

    async def answers(self) -> bool:
        return self._server.running and self._server.port > 0


@asynccontextmanager
async def _supervised(child: Child, ready: Callable[[], Awaitable[bool]]) -> AsyncGenerator[None]:
    """Keep one child alive while the context lasts, which begins when it is `ready`."""
    stop, ended = anyio.Event(), anyio.Event()

    async def keep() -> None:
        try:
            await Supervisor().run([child], stop, grace=5.0)
        finally:
            ended.set()

    async with background(keep):
        with anyio.move_on_after(_START) as limit:
            while not await ready():  # noqa: ASYNC110 - another process says nothing
                await anyio.sleep(_POLL / 2)
        if limit.cancelled_caught:
            raise UnavailableError(f"{child.name} did not answer within {_START:g} s")
        try:
            yield
        finally:
            stop.set()
            with anyio.CancelScope(shield=True):
                await ended.wait()


async def _answers(port: int) -> bool:
    try:
        await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _locked(store: Path) -> Generator[None]:
    """Hold the store alone: two servers on one would destroy it. Raises InvalidInputError."""
    try:
        store.mkdir(parents=True, exist_ok=True)
        lock = (store / "lock").open("a")
    except OSError as error:
        raise InvalidInputError(
            f"cannot write to {store}: {error.strerror or error}; choose another --store"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidInputError(
                f"another `galerne up` runs on {store}: stop it, or choose another --store"
            ) from error
        yield
