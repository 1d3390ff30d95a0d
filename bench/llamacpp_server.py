"""llama.cpp's own server with a file of weights: `python -m bench.llamacpp_server FILE`.

It prints its address, and ends when its stdin does: so it never outlives who started it. What it
needs, xllamacpp, is pinned among the development dependencies.
"""

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

CONTEXT = 8192
"""Tokens of each conversation that it keeps."""
SLOTS = 3
"""Planner's, executor's and answer's: the beginning of each is read once and not at every goal."""
START = 120.0
"""Seconds to load a gigabyte from a busy disk."""


@asynccontextmanager
async def llamacpp_server(file: Path, log: Path) -> AsyncGenerator[str]:
    """Its address, as long as the context lasts."""
    command = [sys.executable, "-m", "bench.llamacpp_server", str(file)]
    with log.open("ab") as lines:
        process = await anyio.open_process(command, stderr=lines)
    try:
        assert process.stdout is not None
        with anyio.fail_after(START):
            words = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 1000)
        yield f"{words.decode().strip()}/v1"
    finally:
        with anyio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            await process.aclose()


def _serve(file: str) -> None:
    os.nice(5)  # whatever else the machine does comes first: a model takes every core
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning helps only on idle cores
    library: Any = import_module("xllamacpp")
    asked = library.CommonParams()
    asked.model.path = file
    asked.use_jinja = True
    asked.hostname = "127.0.0.1"
    asked.port = 0
    asked.n_ctx = CONTEXT * SLOTS
    asked.n_parallel = SLOTS
    server = library.Server(asked)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    _serve(sys.argv[1])
