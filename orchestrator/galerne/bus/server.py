"""A real nats-server of our own, for the embedded default, `galerne up` and tests.

`nats-server` on PATH is taken first, then the one in the `server` extra's wheel. It gets a free
port and a store folder, and goes away with whoever started it.
"""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
import msgspec

from galerne.errors import UnavailableError

START = 15.0
"""Seconds until a server that does not report its port counts as broken."""


class NatsServer:
    """A running server. Stop and start again with `stop`/`kill` and `start`; the port stays."""

    def __init__(self, store: Path, port: int = -1, *, jetstream_options: str = "") -> None:
        self.store = store
        self.port = port
        self._options = jetstream_options
        self._process: anyio.abc.Process | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it and wait until it answers. Raises UnavailableError with the server's words."""
        self.store.mkdir(parents=True, exist_ok=True)
        ports = self.store / "ports"
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir()
        output = self.store / "nats-server.log"
        with output.open("ab") as log_file:
            self._process = await anyio.open_process(
                [*_pdeathsig(), *self._command(ports)],
                stdin=None,
                stdout=log_file,
                stderr=log_file,
                start_new_session=True,  # Ctrl-C is for whoever started it, which then drains
            )
        with anyio.move_on_after(START):
            while self.running:
                port = _read_port(ports)
                if port is not None:
                    self.port = port
                    return
                await anyio.sleep(0.01)
        await self.stop()
        words = output.read_text(errors="replace").strip().splitlines()[-1:]
        raise UnavailableError(f"nats-server did not start: {' '.join(words) or 'no output'}")

    def _command(self, ports: Path) -> list[str]:
        config = self.store / "nats.conf"
        config.write_text(
            'server_name: "galerne-embedded"\n'
            f"host: 127.0.0.1\nport: {self.port}\nports_file_dir: {_quoted(ports)}\n"
            "max_payload: 1MB\n"
            f"jetstream {{ store_dir: {_quoted(self.store / 'data')} {self._options} }}\n"
        )
        return [find_nats_server(), "-c", str(config)]

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL after five seconds."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """SIGKILL, as a crash would."""
        await self._end(signal.SIGKILL)

    async def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.send_signal(number)
                with anyio.move_on_after(5):
                    await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()
            await process.aclose()
        self._process = None


def find_nats_server() -> str:
    """The path of the binary. Raises UnavailableError that names the command that installs it."""
    beside = Path(sys.executable).with_name("nats-server")
    found = shutil.which("nats-server") or (str(beside) if beside.is_file() else None)
    if found is None:
        raise UnavailableError(
            "no nats-server on PATH: run `pip install 'galerne[server]'`, or give --server URL"
        )
    return found


@asynccontextmanager
async def nats_server(store: Path | None = None, port: int = -1) -> AsyncGenerator[NatsServer]:
    """A server for as long as the context lasts; without `store`, in a folder that goes with it."""
    with tempfile.TemporaryDirectory(prefix="galerne-nats-") as folder:
        server = NatsServer(store or Path(folder), port)
        await server.start()
        try:
            yield server
        finally:
            await server.stop()


def _pdeathsig() -> list[str]:
    """A kill -9 of this process must not leave the server behind (Linux)."""
    setpriv = shutil.which("setpriv") if os.name == "posix" else None
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


def _read_port(folder: Path) -> int | None:
    for file in folder.glob("*.ports"):
        try:
            urls = msgspec.json.decode(file.read_bytes(), type=dict[str, list[str]])
        except (msgspec.DecodeError, OSError):
            return None  # still being written
        if urls.get("nats"):
            return int(urls["nats"][0].rpartition(":")[2])
    return None


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
