"""nats-server for a fleet under fire: one, or a cluster of three, killed and started again.

A server keeps its port and its store when it is killed, so that it comes back as itself.
"""

import json
import random
import shutil
import signal
import socket
from pathlib import Path
from typing import Protocol

import anyio
import anyio.abc
from nats.errors import Error

from chaos.plain import connect
from galerne.bus.server import NatsServer, find_nats_server

READY = 40.0
"""Seconds for a cluster to be formed and its streams to have leaders."""


class Servers(Protocol):
    """What a fleet needs of its servers.

    `replicas` is how many copies its streams have, `hurt_every` the seconds between two kills that
    they can take.
    """

    replicas: int
    hurt_every: float

    @property
    def url(self) -> str: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def hurt(self, chance: random.Random) -> int:
        """Kill -9 one, start it again; gives the pid that died."""
        ...


class OneServer:
    """A single server."""

    replicas = 1
    hurt_every = 3.0

    def __init__(self, folder: Path) -> None:
        self._server = NatsServer(folder)

    @property
    def url(self) -> str:
        return self._server.url

    async def start(self) -> None:
        await self._server.start()

    async def stop(self) -> None:
        await self._server.kill()

    async def hurt(self, chance: random.Random) -> int:  # noqa: ARG002 - there is no choice
        pid = self._server.pid
        await self._server.kill()
        await self._server.start()
        return pid


class Cluster:
    """Three servers on this host; `hurt` kills the leader of one of the streams.

    A group of servers looks for a new leader after 4 to 9 s without one (nats-server's own limits),
    so leaders that are killed more often than that leave none to speak to at any time.
    """

    replicas = 3
    hurt_every = 20.0

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        ports = _free_ports(6)
        self._ports, self._routes = ports[:3], ports[3:]
        self._processes: list[anyio.abc.Process | None] = [None, None, None]

    @property
    def url(self) -> str:
        return ",".join(f"nats://127.0.0.1:{port}" for port in self._ports)

    async def start(self) -> None:
        for number in range(3):
            await self._start(number)
        await self._formed()

    async def stop(self) -> None:
        for number in range(3):
            await self._kill(number)

    async def hurt(self, chance: random.Random) -> int:
        number = await self._leader(chance)
        process = self._processes[number]
        assert process is not None
        pid = process.pid
        await self._kill(number)
        await self._start(number)
        return pid

    async def _start(self, number: int) -> None:
        folder = self._folder / f"n{number}"
        folder.mkdir(parents=True, exist_ok=True)
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in self._routes)
        config = folder / "nats.conf"
        config.write_text(
            f'server_name: "n{number}"\nhost: 127.0.0.1\nport: {self._ports[number]}\n'
            f"max_payload: 1MB\njetstream {{ store_dir: {json.dumps(str(folder / 'data'))} }}\n"
            f"cluster {{ name: chaos, listen: 127.0.0.1:{self._routes[number]},"
            f" routes: [{routes}] }}\n"
        )
        dies_with_us = [shutil.which("setpriv") or "", "--pdeathsig", "KILL", "--"]
        with (folder / "nats-server.log").open("ab") as log:
            self._processes[number] = await anyio.open_process(
                [*(dies_with_us if dies_with_us[0] else []), find_nats_server(), "-c", str(config)],
                stdin=None,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _kill(self, number: int) -> None:
        process, self._processes[number] = self._processes[number], None
        if process is not None:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            await process.wait()
            await process.aclose()

    async def _formed(self) -> None:
        """Until JetStream has a leader for its streams: asking for one must be answered."""
        with anyio.fail_after(READY):
            while True:
                try:
                    async with await connect(self.url) as client:
                        answer = await client.request("$JS.API.INFO", b"", timeout=1)
                        if "error" not in json.loads(answer.data):
                            return
                except (Error, OSError, TimeoutError):
                    pass
                await anyio.sleep(0.1)

    async def _leader(self, chance: random.Random) -> int:
        """The server that leads one of the streams; any server where nobody says."""
        number = chance.randrange(3)
        try:
            async with await connect(self.url) as client:
                names = json.loads((await client.request("$JS.API.STREAM.NAMES", b"")).data)
                stream = chance.choice(sorted(names["streams"]))
                info = await client.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=1)
                number = int(json.loads(info.data)["cluster"]["leader"].removeprefix("n"))
        except (Error, OSError, TimeoutError, KeyError, TypeError, ValueError):
            return number
        return number


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has now; three servers must know each other's before they start."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
