"""A fleet of real processes for the acceptance tests: started, killed and started again by name."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from galerne.bus.server import NatsServer
from galerne.models.standin import LedgerEntry, read_ledger

FAST = {
    "GALERNE_WORKER_LEASE": "10",
    "GALERNE_WORKER_HEARTBEAT": "2",
    "GALERNE_WORKER_CLOCK_MARGIN": "0.5",
    "GALERNE_COORDINATOR_ACK_WAIT": "3",
    "GALERNE_COORDINATOR_SWEEP": "6",
}
"""Shorter leases than the defaults, so that a test does not wait for them, and still long enough
for a killed worker to be started again within one on a busy machine (its spool comes first)."""


class Fleet:
    """nats-server, a stand-in with a ledger, and workers, all under `folder`."""

    def __init__(self, folder: Path, stand_in_options: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.files = folder / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self.ledger_file = folder / "ledger.jsonl"
        self.nats = NatsServer(folder / "nats")
        self._options = stand_in_options
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("GALERNE_")
        }

    async def start(self, *workers: str) -> None:
        """Start everything; a worker's name is its role and a number: `executor-1`."""
        await self.nats.start()
        stand_in = self._spawn(
            "stand-in",
            "stand-in",
            "--port",
            "0",
            "--ledger",
            str(self.ledger_file),
            *self._options,
            output=subprocess.PIPE,
        )
        assert stand_in.stdout is not None
        line = (await anyio.to_thread.run_sync(stand_in.stdout.readline)).decode()
        url = next(word for word in line.split() if word.startswith("http://"))
        self._environment |= FAST | {
            "GALERNE_SERVER": self.nats.url,
            "GALERNE_PLANNER_ENDPOINT": url,
            "GALERNE_EXECUTOR_ENDPOINT": url,
            "GALERNE_TOOLS_ROOT": str(self.files),
            "GALERNE_WORKER_SPOOL": str(self.folder / "spool"),
        }
        for worker in workers:
            self.start_worker(worker)
        for worker in workers:
            await self.serving(worker)

    async def serving(self, name: str, patience: float = 30.0) -> None:
        """Wait until a worker says that it takes work."""
        with anyio.fail_after(patience):
            while "serving" not in self.log_of(name):
                assert self.alive(name), self.log_of(name)
                await anyio.sleep(0.05)

    def start_worker(self, name: str, **variables: str) -> None:
        """`variables` are more of its environment."""
        self._spawn(name, "worker", name.partition("-")[0], variables=variables)

    async def command(self, *arguments: str) -> tuple[int, str, str]:
        """A `galerne` command to its end: exit code, stdout, stderr."""
        done = await anyio.run_process(
            [sys.executable, "-m", "galerne", *arguments],
            env=self._environment,
            cwd=self.folder,
            check=False,
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def kill(self, name: str) -> None:
        """kill -9, and wait until it is gone."""
        process = self._processes[name]
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    def terminate(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGTERM)

    def pause(self, name: str) -> None:
        """Stop it where it stands, as a debugger or a full hypervisor would."""
        self._processes[name].send_signal(signal.SIGSTOP)

    def unpause(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGCONT)

    def process_id(self, name: str) -> int:
        return self._processes[name].pid

    def alive(self, name: str) -> bool:
        return self._processes[name].poll() is None

    async def exit_code(self, name: str, patience: float = 30.0) -> int:
        with anyio.fail_after(patience):
            while (code := self._processes[name].poll()) is None:
                await anyio.sleep(0.02)
            return code

    async def stop(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
            process.wait(10)
            if process.stdout is not None:
                process.stdout.close()
        await self.nats.stop()

    def log_of(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def _spawn(
        self,
        name: str,
        *arguments: str,
        output: int | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "galerne", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output if output is not None else log,
                stderr=log,
                env={**self._environment, **(variables or {})},
                cwd=self.folder,
            )
        self._processes[name] = process
        return process

    # the stand-in's own ledger

    def finished_calls(self) -> dict[str, list[LedgerEntry]]:
        """The whole answers that went out, by the durable key of the call."""
        calls: dict[str, list[LedgerEntry]] = {}
        for entry in read_ledger(self.ledger_file):
            if entry.event == "finished" and entry.key is not None:
                calls.setdefault(entry.key, []).append(entry)
        return calls

    def events(self) -> Counter[str]:
        return Counter(entry.event for entry in read_ledger(self.ledger_file))


@asynccontextmanager
async def fleet(
    folder: Path, *workers: str, options: tuple[str, ...] = ()
) -> AsyncGenerator[Fleet]:
    """A running fleet; everything is gone when the context ends."""
    made = Fleet(folder, options)
    try:
        await made.start(*workers)
        yield made
    finally:
        with anyio.CancelScope(shield=True):
            await made.stop()
