"""No attempt in `escapes` gets out, takes more or leaves anything, whichever sandbox there is."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest

from galerne.tools import AnyTool
from integration.escapes import ATTEMPTS, Attempt
from integration.sandboxes import KINDS, SMALL, Kind, ran, tool_of, until_gone

pytestmark = pytest.mark.anyio

SECRET = "in-the-environment-of-the-worker"
NOT_HELD = "ESCAPED"


class Outside:
    """What lies around the sandbox, and what an escape would have done to it."""

    def __init__(self, base: Path) -> None:
        self.root = base / "root"
        self.root.mkdir()
        self.file = base / "outside.txt"
        self.given = self.root / "given.txt"
        for file in (self.file, self.given):
            file.write_text("given to all" if file == self.given else SECRET)
            file.chmod(0o666)
        self.root.chmod(0o777)
        os.mkfifo(self.root / "fifo")
        (self.root / "fifo").chmod(0o666)
        self.fifo = os.open(self.root / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        self.token = f"outlives-{base.name}-{os.getpid()}"
        self.abstract = f"galerne-{self.token}"
        self.tcp = _listening(socket.AF_INET, ("127.0.0.1", 0))
        self.unix = _listening(socket.AF_UNIX, os.path.relpath(self.root / "socket"))
        (self.root / "socket").chmod(0o777)
        self.hidden = _listening(socket.AF_UNIX, f"\0{self.abstract}")
        self.victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        self.inherited = os.open(self.file, os.O_RDONLY)
        os.set_inheritable(self.inherited, True)

    def fill_in(self, code: str) -> str:
        return Template(code).substitute(
            secret=SECRET,
            outside=self.file,
            port=self.tcp.getsockname()[1],
            victim=self.victim.pid,
            abstract=self.abstract,
            token=self.token,
        )

    def check_untouched(self) -> None:
        assert self.victim.poll() is None, "the victim was killed"
        assert self.file.read_text() == SECRET
        assert self.given.read_text() == "given to all"
        assert self.given.stat().st_mode & 0o777 == 0o666
        assert {path.name for path in self.root.iterdir()} == {"fifo", "given.txt", "socket"}
        assert os.read(self.fifo, 1) == b"", "something came through the FIFO"
        for server in (self.tcp, self.unix, self.hidden):
            with pytest.raises(BlockingIOError):
                server.accept()

    def close(self) -> None:
        self.victim.kill()
        self.victim.wait()
        for server in (self.tcp, self.unix, self.hidden):
            server.close()
        os.close(self.fifo)
        os.close(self.inherited)


def _listening(family: int, address: object) -> socket.socket:
    server = socket.socket(family)
    server.bind(address)  # type: ignore[arg-type]
    server.listen()
    server.setblocking(False)
    return server


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    made = Outside(tmp_path_factory.mktemp("escapes"))
    os.environ["SECRET_OF_WORKER"] = SECRET
    yield made
    del os.environ["SECRET_OF_WORKER"]
    made.close()


@pytest.fixture(scope="module", params=KINDS)
def tool(request: pytest.FixtureRequest, outside: Outside) -> AnyTool:
    kind: Kind = request.param
    return tool_of(outside.root, kind)


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
async def test_an_attempt_is_held(tool: AnyTool, outside: Outside, attempt: Attempt) -> None:
    value = await ran(tool, outside.fill_in(attempt.code), attempt.seconds)
    whole = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    read = f"{value.get('output', '')}{value.get('errors', '')}\n{whole}"
    assert NOT_HELD not in value.get("output", ""), read
    assert SECRET not in read
    assert re.search(attempt.held, read, re.DOTALL), read
    assert len(whole) < 8 * SMALL.output
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", read), "it could move a terminal's cursor"
    outside.check_untouched()
    await until_gone(str(outside.root))
    await until_gone(outside.token)


def test_there_are_thirty_attempts_at_least() -> None:
    assert len({attempt.name for attempt in ATTEMPTS}) >= 30
