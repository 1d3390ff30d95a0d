"""A fleet of real processes under fire: nats-server, the stand-in model, and workers by name.

Workers are forked (`processes`), armed with a fault or not, killed, and started again. What the
fleet is asked for goes over a plain NATS connection, as anybody's client would ask.
"""

import base64
import json
import signal
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from nats.aio.client import Client
from nats.errors import Error

from chaos.evidence import Evidence
from chaos.goals import FILES, Job, text_of
from chaos.plain import connect
from chaos.processes import Forked, Zygote
from chaos.servers import Servers
from chaos.stopping import VARIABLE as STOP

SHORT = {
    "GALERNE_BUS_PARTITIONS": "4",
    "GALERNE_BUS_REQUEST_TIMEOUT": "2",
    "GALERNE_WORKER_LEASE": "2.4",
    "GALERNE_WORKER_HEARTBEAT": "0.6",
    "GALERNE_WORKER_CLOCK_MARGIN": "0.4",
    "GALERNE_WORKER_RETRY_AWAY": "0.1s..1s",
    "GALERNE_WORKER_RETRY_DEADLINE": "0.1s..1s x40",
    "GALERNE_WORKER_RETRY_OTHER": "0.1s..1s x40",
    "GALERNE_WORKER_MAX_ATTEMPTS": "40",
    "GALERNE_WORKER_DRAIN": "1",
    "GALERNE_COORDINATOR_PRESENCE": "0.3",
    "GALERNE_COORDINATOR_ACK_WAIT": "1",
    "GALERNE_COORDINATOR_SWEEP": "2",
    "GALERNE_TOOLS_HEARTBEAT": "0.2",
}
"""Short leases, so that a death costs seconds; attempts without a practical limit, because here
processes die far more often than a task may kill its workers."""
AWAY = 0.2
"""Seconds until a process that has ended by itself is started again."""
START = 30.0
"""Seconds that a worker may take to serve, on a busy machine."""
ROLES = ("coordinator", "planner", "executor", "tools")


class Fleet:
    """Everything under one folder. Enter `fleet()`; then workers are started by name."""

    def __init__(
        self, zygote: Zygote, servers: Servers, folder: Path, *, stand_in: tuple[str, ...] = ()
    ) -> None:
        self.servers = servers
        self.evidence = Evidence(folder / "evidence")
        self.workers: dict[str, Forked] = {}
        self.client: Client
        self._zygote = zygote
        self._folder = folder
        self._stand_in_options = stand_in
        self._environ: dict[str, str] = {}
        self._started: dict[str, dict[str, str]] = {}

    async def start(self) -> None:
        """The servers and the stand-in; workers come later."""
        files = self._folder / "files"
        files.mkdir(parents=True, exist_ok=True)
        for name, words in FILES.items():
            (files / name).write_text(text_of(words))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.servers.start)
            tasks.start_soon(self._start_own_stand_in)
        self._environ |= SHORT | {
            "GALERNE_SERVER": self.servers.url,
            "GALERNE_BUS_REPLICAS": str(self.servers.replicas),
            "GALERNE_TOOLS_ROOT": str(files),
            "GALERNE_WORKER_SPOOL": str(self.spools),
            "CHAOS_TOOL_LEDGER": str(self.evidence.tools),
        }
        self.client = await connect(self.servers.url)

    @property
    def spools(self) -> Path:
        return self._folder / "spool"

    # workers

    async def fork(
        self,
        name: str,
        *,
        fault: str | None = None,
        number: int = 1,
        model: str | None = None,
        stops: bool = False,
    ) -> Forked:
        """Start `<role>-<anything>`, to die where `fault` is reached for the nth time.

        `model` is another stand-in's URL than the fleet's own. With `stops` it does not die there:
        it stops, until it gets a SIGCONT.
        """
        environ = dict(self._environ) | (_endpoints(model) if model else {})
        if fault is not None:
            environ[STOP if stops else "GALERNE_FAULT"] = f"{fault}:{number}:{self.mark(name)}"
        arguments = ("worker", role_of(name), "--log-level", "info")
        self._started[name] = environ
        forked = self.workers[name] = await self._fork(name, *arguments, environ=environ)
        return forked

    async def supervise(self) -> None:
        """Start again what ended by itself, as a supervisor would, until cancelled.

        A process that starts while the server is away says so and ends.
        """
        while True:
            await anyio.sleep(AWAY)
            for name, worker in list(self.workers.items()):
                if not worker.alive and not worker.killed:
                    arguments = ("worker", role_of(name), "--log-level", "info")
                    environ = self._started[name]
                    self.workers[name] = await self._fork(name, *arguments, environ=environ)

    async def serving(self, name: str) -> bool:
        """Wait until a worker takes work; False if it died before."""
        log = self._folder / f"{name}.log"
        with anyio.fail_after(START):
            while "serving" not in log.read_text(errors="replace"):
                if self.workers[name].killed:
                    return False
                await anyio.sleep(0.02)
        return True

    def mark(self, name: str) -> Path:
        """The file that a worker makes when it reaches its fault."""
        return self._folder / f"{name}.reached"

    async def buried(self, name: str, point: str, row: str) -> None:
        """Wait for a worker's death and write it down, with what its spool holds."""
        while not (worker := self.workers[name]).killed:
            with anyio.move_on_after(AWAY):  # what ends by itself is started again
                await worker.ended.wait()
        role = role_of(name)
        self.evidence.killed(role, worker.pid, point=point, row=row, spools=self.spools)

    async def kill(self, name: str, point: str, row: str) -> None:
        """kill -9 from outside."""
        while not self.workers[name].killed:
            self.workers[name].send(signal.SIGKILL)
            with anyio.move_on_after(AWAY):
                await self.workers[name].ended.wait()
        await self.buried(name, point, row)

    def alive(self, role: str) -> list[str]:
        return [name for name, one in self.workers.items() if one.alive and role_of(name) == role]

    # jobs

    async def submit(self, job: Job, row: str) -> None:
        """Hand a job in, again and again until the server has it: the same id is the same job."""
        message = {"type": "submit", "job": job.id, "goal": job.goal, **job.options}
        if job.seconds is not None:
            message["deadline"] = time.time() + job.seconds
        await self._request("galerne.submit.default", json.dumps(message).encode())
        self.evidence.submitted(job, row)

    async def cancel(self, job: str) -> None:
        await self._request(
            "galerne.command.default", json.dumps({"type": "cancel", "job": job}).encode()
        )

    async def send(self, subject: str, body: bytes, *, stored: bool) -> None:
        """Any message, of a good or a bad neighbour."""
        if stored:
            await self._request(subject, body)
        else:
            await self.client.publish(subject, body)
            await self.client.flush()

    async def last(self, subject: str, stream: str = "GALERNE_EVENTS") -> dict[str, Any] | None:
        """The last message under a subject, decoded; None where there is none or no server."""
        try:
            asked = json.dumps({"last_by_subj": subject}).encode()
            answer = await self.client.request(f"$JS.API.STREAM.MSG.GET.{stream}", asked)
            found: dict[str, Any] = json.loads(answer.data)
            decoded: dict[str, Any] = json.loads(base64.b64decode(found["message"]["data"]))
        except (Error, OSError, TimeoutError, KeyError):
            return None
        return decoded

    async def names(self, subjects: str) -> list[str]:
        """The subjects in the log that fit a pattern."""
        asked = json.dumps({"subjects_filter": subjects}).encode()
        try:
            answer = await self.client.request("$JS.API.STREAM.INFO.GALERNE_EVENTS", asked)
        except (Error, OSError, TimeoutError):
            return []
        said: dict[str, Any] = json.loads(answer.data)
        subjects_of: dict[str, int] = said.get("state", {}).get("subjects") or {}
        return sorted(subjects_of)

    async def end_of(self, job: str) -> dict[str, Any] | None:
        return await self.last(f"galerne.ev.*.default.{job}.end")

    async def _request(self, subject: str, body: bytes) -> None:
        while True:
            try:
                answer = await self.client.request(subject, body, timeout=1)
                if "stream" in json.loads(answer.data):
                    return
            except (Error, OSError, TimeoutError):
                pass
            await anyio.sleep(0.1)

    # the inside

    async def stop(self) -> None:
        if hasattr(self, "client"):
            with anyio.move_on_after(2):
                await self.client.close()
        for worker in self.workers.values():
            worker.send(signal.SIGKILL)
        for worker in self.workers.values():
            await worker.ended.wait()
        await self.servers.stop()

    async def _start_own_stand_in(self) -> None:
        self._environ |= _endpoints(await self.start_stand_in("stand-in", *self._stand_in_options))

    async def start_stand_in(self, name: str, *options: str) -> str:
        """A stand-in model of its own, with the fleet's ledger; gives its URL."""
        arguments = ("stand-in", "--port", "0", "--ledger", str(self.evidence.models))
        self.workers[name] = await self._fork(name, *arguments, *options)
        log = self._folder / f"{name}.log"
        with anyio.fail_after(START):
            while "http://" not in (said := log.read_text(errors="replace")):
                await anyio.sleep(0.02)
        return next(word for word in said.split() if word.startswith("http://"))

    async def _fork(
        self, name: str, *arguments: str, environ: Mapping[str, str] | None = None
    ) -> Forked:
        log = self._folder / f"{name}.log"
        log.touch()
        return await self._zygote.fork(
            *arguments, environ=environ or {}, log=log, folder=self._folder
        )


def _endpoints(url: str) -> dict[str, str]:
    return {"GALERNE_PLANNER_ENDPOINT": url, "GALERNE_EXECUTOR_ENDPOINT": url}


def role_of(name: str) -> str:
    return name.partition("-")[0]


@asynccontextmanager
async def fleet(
    zygote: Zygote, servers: Servers, folder: Path, *, stand_in: tuple[str, ...] = ()
) -> AsyncGenerator[Fleet]:
    """A fleet without workers yet; everything is gone when the context ends."""
    made = Fleet(zygote, servers, folder, stand_in=stand_in)
    try:
        await made.start()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.supervise)
            yield made
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await made.stop()
