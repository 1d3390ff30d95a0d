"""No key and no password is in anything that a fleet leaves behind or shows.

A real fleet, in processes of its own and at log level debug, does jobs with keys that are known to
the test: good ones, and jobs whose endpoint repeats the key in every place that it can. Then
everything is searched: logs, store, spool, exports, what commands print, command lines.
"""

import base64
import os
import re
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import anyio
import pytest

from acceptance.hostile_endpoint import MODES, hostile_endpoint
from galerne.bus.server import NatsServer

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(280)]

PLANNER = "sk-planner/Kx81+Qm=zT5vRw2Yb7Nd"
EXECUTOR = "sk-executor/Jp40+Lc=hS9gFu3Xe6Ma"
WRONG = "sk-wrong/Bv27+Zt=oD1kIy8Wq5Hr"
LOGIN = "Pw93Uf0Cn4Gs"
WRONG_LOGIN = "Xw58/Ej2Ov7Tk"
SECRETS = (PLANNER, EXECUTOR, WRONG, LOGIN, WRONG_LOGIN)
GOAL = "Count the words in harvest.txt"

CRASH = """
from galerne.models import ModelClient

async def ask(self, *_, **__):
    raise RuntimeError(f"all that it has: {vars(self)}")

ModelClient.ask = ask
"""


def forms(secret: str) -> Iterator[bytes]:
    """A secret as it may stand in bytes; a half of it is found, too."""
    half = len(secret) // 2
    for piece in (secret[: half + 2], secret[half - 2 :], secret):
        yield piece.encode()
        yield quote(piece, safe="").encode()
        yield piece.replace("/", "\\/").encode()
    for shift in range(3):  # base64 writes it in three ways, as it happens to begin
        whole = base64.b64encode(b" " * shift + secret.encode())
        yield whole[4:-4]


def found_in(name: str, data: bytes) -> list[str]:
    return [
        f"{name}: {form.decode()} in …{data[max(0, data.find(form) - 300) :][:400]!r}"
        for secret in SECRETS
        for form in forms(secret)
        if form in data
    ]


def key_file(folder: Path, key: str) -> str:
    folder.mkdir(exist_ok=True)
    file = folder / f"key-{len(list(folder.iterdir()))}"
    file.write_text(f"{key}\n")
    file.chmod(0o600)
    return str(file)


class Scene:
    """A folder with everything that is left behind, and the commands that are run in it."""

    def __init__(self, folder: Path) -> None:
        self.left = folder / "left"
        self.left.mkdir()
        self.files = folder / "files"
        self.files.mkdir()
        (self.files / "harvest.txt").write_text("nine words of a harvest that was good enough\n")
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("GALERNE_")},
            "NO_COLOR": "1",
        }
        self._outputs = 0
        self.command_lines: set[bytes] = set()

    def _output(self, name: str) -> Path:
        self._outputs += 1
        return self.left / f"{self._outputs:02}-{name}"

    async def run(self, *arguments: str, **variables: str) -> bytes:
        """A command; what it said is left behind, too."""
        with anyio.fail_after(90):
            done = await anyio.run_process(
                [sys.executable, "-m", "galerne", *arguments],
                env={**self.environment, **variables},
                cwd=self.left,
                check=False,
            )
        self._output(f"{arguments[0]}.out").write_bytes(done.stdout + done.stderr)
        return done.stdout + done.stderr

    @asynccontextmanager
    async def process(self, *arguments: str, awaited: str, **variables: str) -> AsyncGenerator[str]:
        """A service, for as long as the context lasts; gives the line that holds `awaited`."""
        output = self._output(f"{arguments[0]}.log")
        with output.open("wb") as log:
            process = await anyio.open_process(
                [sys.executable, "-m", "galerne", *arguments],
                stdin=None,
                stdout=log,
                stderr=log,
                env={**self.environment, **variables},
                cwd=self.left,
            )
        try:
            with anyio.fail_after(60):
                while not (lines := self._lines_with(output, awaited)):
                    assert process.returncode is None, output.read_text()
                    await anyio.sleep(0.05)
            yield lines[0]
        finally:
            with anyio.CancelScope(shield=True):
                process.terminate()
                with anyio.move_on_after(30):
                    await process.wait()
                if process.returncode is None:
                    process.kill()
                await process.aclose()

    def _lines_with(self, output: Path, text: str) -> list[str]:
        return [line for line in output.read_text().splitlines() if text in line]

    def note_command_lines(self) -> None:
        """Of every process of this user: other users can read them."""
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.command_lines.add(entry.read_bytes())
            except OSError:
                continue  # it has ended


@asynccontextmanager
async def stand_in(scene: Scene, secrets: Path, key: str) -> AsyncGenerator[str]:
    arguments = ("stand-in", "--port", "0", "--key-file", key_file(secrets, key))
    async with scene.process(*arguments, awaited="http://") as line:
        yield next(word for word in line.split() if word.startswith("http://"))


async def test_nothing_that_is_left_behind_holds_a_secret(tmp_path: Path) -> None:
    scene, secrets = Scene(tmp_path), tmp_path / "secrets"
    login = f'}}\nauthorization {{ user: fleet, password: "{LOGIN}"'
    nats = NatsServer(tmp_path / "nats", jetstream_options=login)
    await nats.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(nats.stop)
        planner = await stack.enter_async_context(stand_in(scene, secrets, PLANNER))
        executor = await stack.enter_async_context(stand_in(scene, secrets, EXECUTOR))
        endpoint = await stack.enter_async_context(
            hostile_endpoint({"planner": planner, "executor": executor})
        )
        scene.environment |= {
            "GALERNE_SERVER": f"nats://fleet:{LOGIN}@127.0.0.1:{nats.port}",
            "GALERNE_PLANNER_ENDPOINT": f"{endpoint.url}/planner/v1",
            "GALERNE_PLANNER_API_KEY": PLANNER,
            "GALERNE_EXECUTOR_ENDPOINT": f"{endpoint.url}/executor/v1",
            "GALERNE_EXECUTOR_API_KEY_FILE": key_file(secrets, EXECUTOR),
            "GALERNE_TOOLS_ROOT": str(scene.files),
            "GALERNE_WORKER_SPOOL": str(scene.left / "spool"),
            "GALERNE_WORKER_RETRY_OTHER": "0.01s..0.02s x2",
            "GALERNE_WORKER_RETRY_AWAY": "0.01s..0.02s",
            "GALERNE_WORKER_RETRY_BAD_ANSWER": "0.01s..0.02s x2",
            "GALERNE_WORKER_OUTAGE": "0.5",
        }
        up = ("up", "--log-level", "debug", "--executors", "1", "--coordinators", "1")
        async with scene.process(*up, awaited="serving"):
            answer = await scene.run("submit", "--wait", "--json", GOAL)
            assert b'"succeeded"' in answer, answer
            for mode in MODES:
                endpoint.mode = mode
                for role in ("executor", "planner"):
                    endpoint.role = role
                    said = await scene.run("submit", "--wait", "--log-level", "debug", GOAL)
                    assert b"failed" in said, said
                scene.note_command_lines()
                await scene.run("plan", "--log-level", "debug", GOAL)
            endpoint.mode = "good"
            await look_back(scene)
        assert endpoint.repeated >= 2 * len(MODES)
        await what_goes_wrong_at_the_start(scene, secrets, nats.port)
    search(scene, nats)


async def look_back(scene: Scene) -> None:
    """Everything that shows a job."""
    await scene.run("jobs", "--json")
    listing = (await scene.run("jobs")).decode()
    ids = re.findall(r"^j-[0-9a-f]+", listing, re.MULTILINE)
    assert len(ids) == 1 + 2 * len(MODES), listing
    for job in ids[:: len(ids) // 8]:
        shown = await scene.run("show", job)
        assert b"harvest" in shown
        await scene.run("show", "--json", job)
        await scene.run("export", job, "--output", str(scene.left / f"{job}.export"))
    await scene.run("quarantine", "list", "--json")
    await scene.run("approvals", "--json")


async def what_goes_wrong_at_the_start(scene: Scene, secrets: Path, port: int) -> None:
    """Wrong keys, a wrong password, a file that holds no key, a crash; each with its traceback."""
    debug = ("--log-level", "debug")
    wrong = await scene.run("plan", *debug, GOAL, GALERNE_PLANNER_API_KEY=WRONG)
    assert b"refuses the key" in wrong, wrong
    for server in (f"fleet:{quote(WRONG_LOGIN, safe='')}@", f"fleet:{WRONG_LOGIN}@"):
        url = f"nats://{server}127.0.0.1:{port}"
        said = await scene.run("jobs", *debug, GALERNE_SERVER=url)
        assert b"Traceback" in said, said
    both = await scene.run("worker", "executor", *debug, GALERNE_EXECUTOR_API_KEY=WRONG)
    assert b"both set" in both, both
    lines = key_file(secrets, f"{WRONG}\n{WRONG}")
    many = await scene.run("worker", "executor", *debug, GALERNE_EXECUTOR_API_KEY_FILE=lines)
    assert b"not one line" in many, many
    crash = secrets.parent / "crash"
    crash.mkdir()
    (crash / "sitecustomize.py").write_text(CRASH)
    crashed = await scene.run("plan", *debug, GOAL, PYTHONPATH=str(crash))
    assert b"RuntimeError: all that it has: {" in crashed, crashed
    assert b"'***'" in crashed, crashed


def search(scene: Scene, nats: NatsServer) -> None:
    """Everything is searched, and what must be in it is found."""
    files = [path for path in scene.left.rglob("*") if path.is_file()]
    store = [path for path in (nats.store / "data").rglob("*") if path.is_file()]
    stored = b"".join(path.read_bytes() for path in store)
    assert GOAL.encode() in stored, "the store is readable, and was read"
    assert any(path.suffix == ".export" for path in files)
    found = [
        line
        for path in [*files, *store, nats.store / "nats-server.log"]
        for line in found_in(path.name, path.read_bytes())
    ]
    assert any(b"galerne" in line for line in scene.command_lines)
    found += [line for data in scene.command_lines for line in found_in("a command line", data)]
    assert not found, "\n".join(found[:20])
    told = b"".join(path.read_bytes() for path in files)
    assert told.count(b"[api_key]") > len(MODES), "what was repeated was seen, and cleaned"
