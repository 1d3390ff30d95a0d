"""One run, from code to what it has written; whatever happens, nothing of it goes on.

The worker's end of the sandbox's standard input is what the sandbox lives by: closed with this
process, however it ends, and at the end of `run`. Files are handed on one by one, as they come.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import anyio.abc
import msgspec
from anyio.streams.buffered import BufferedByteReceiveStream

from galerne.errors import ToolError
from galerne_tools.python.backends import Sandbox
from galerne_tools.python.frames import (
    CAME_APART,
    End,
    File,
    Frame,
    Order,
    Ran,
    Ready,
    order_bytes,
    read_frame,
)
from galerne_tools.python.inside.collect import MOST_FILES

START = 10.0
"""Seconds until a sandbox must stand, and again until it must have ended what ran in it."""
_LEAVE = 2.0
"""Seconds that it has to go away by itself."""
_LONGEST_LINE = 65_536

Stream = tuple[bytes, bytes, int]
"""Its beginning, its end, and how many bytes between them were left out."""
F = TypeVar("F", bound=Frame)
TakeFile = Callable[[File, bytes | None], Awaitable[None]]


class Run(msgspec.Struct, frozen=True):
    """How code ended: `why` is `exit` or `signal` with its number, or the limit that it met."""

    why: str
    number: int
    output: Stream
    errors: Stream
    more: int
    others: int


async def run_code(sandbox: Sandbox, code: bytes, seconds: float, take_file: TakeFile) -> Run:
    """Run `code` for at most `seconds`, which are above 0. Raises ToolError.

    `take_file` gets what is left in the scratch folder, with its content where it was sent.
    """
    order = msgspec.structs.replace(sandbox.order, seconds=seconds)
    async with _process(sandbox) as process:
        assert process.stdin, "it is a pipe"
        assert process.stdout, "it is a pipe"
        frames = BufferedByteReceiveStream(process.stdout)
        try:
            with anyio.fail_after(seconds + 2 * START):
                await process.stdin.send(order_bytes(order, sandbox.filter, code))
                await _next(frames, order, Ready)
                ran = await _next(frames, order, Ran)
                output = await _stream(frames, ran.output)
                errors = await _stream(frames, ran.errors)
            end = await _take_files(frames, order, take_file)
        except TimeoutError as error:
            raise ToolError("the sandbox does not answer: run the code again") from error
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError) as error:
            raise ToolError(f"the sandbox ended early: {await _last_words(process)}") from error
    return Run(ran.why, ran.number, output, errors, end.more, end.others)


@asynccontextmanager
async def _process(sandbox: Sandbox) -> AsyncGenerator[anyio.abc.Process]:
    """The sandbox's outermost process, which ends here at the latest."""
    try:
        process = await anyio.open_process(sandbox.command, env={}, cwd="/", start_new_session=True)
    except OSError as error:
        raise ToolError(f"the sandbox cannot be made: {error.strerror or error}") from error
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            if process.stdin:
                await process.stdin.aclose()
            with anyio.move_on_after(_LEAVE):
                await process.aclose()


async def _next(frames: BufferedByteReceiveStream, order: Order, kind: type[F]) -> F:
    frame = await _read(frames, order)
    if not isinstance(frame, kind):
        raise ToolError(CAME_APART)
    return frame


async def _read(frames: BufferedByteReceiveStream, order: Order) -> Frame:
    try:
        return read_frame(await frames.receive_until(b"\n", _LONGEST_LINE), order)
    except anyio.DelimiterNotFound as error:
        raise ToolError(CAME_APART) from error


async def _stream(frames: BufferedByteReceiveStream, lengths: tuple[int, int, int]) -> Stream:
    head, tail, missing = lengths
    return await _exactly(frames, head), await _exactly(frames, tail), missing


async def _take_files(frames: BufferedByteReceiveStream, order: Order, take_file: TakeFile) -> End:
    room = order.scratch
    for _ in range(MOST_FILES + 1):
        match await _read(frames, order):
            case File(sent=None) as file:
                await take_file(file, None)
            case File(sent=int(length)) as file if length <= room:
                room -= length
                await take_file(file, await _exactly(frames, length))
            case End() as end:
                return end
            case _:
                break
    raise ToolError(CAME_APART)


async def _exactly(frames: BufferedByteReceiveStream, count: int) -> bytes:
    return await frames.receive_exactly(count) if count else b""


async def _last_words(process: anyio.abc.Process) -> str:
    """What its standard error has at once; one line."""
    assert process.stderr, "it is a pipe"
    with anyio.move_on_after(_LEAVE):
        try:
            said = await process.stderr.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return "it was killed"
        return " ".join(said.decode("utf-8", "replace").split())[:300]
    return "nobody knows why"
