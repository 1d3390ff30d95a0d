"""The messages of an MCP server that is a process of ours: a line each, on its stdin and stdout.

    started in a group of its own, with few variables ─▶ lines both ways; stderr to the log
    stdin closed ─▶ it has a moment to end ─▶ the group is terminated, then killed

Written here because the client of `mcp` holds a line of any length in memory, and hands stderr to
the terminal. What is no message of the protocol is logged and skipped, as it is there.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.abc
import mcp_types
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.os.posix.utilities import terminate_posix_process_tree
from mcp.shared.message import SessionMessage

from galerne.errors import UnavailableError
from galerne_tools.mcp.limited import Say

Incoming = SessionMessage | Exception
Streams = tuple[
    MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]
]

_STDERR_LINE = 4096
_WRITE = 30.0
"""Seconds that a message may wait for a server that does not read its stdin."""
_FAREWELL = 2.0
"""Seconds to end by itself, and again after it is told to."""
_POLL = 0.02
_GONE = (
    anyio.EndOfStream,
    anyio.IncompleteRead,
    anyio.ClosedResourceError,
    anyio.BrokenResourceError,
    OSError,
)


def environment_of(given: Mapping[str, str], passed: Mapping[str, str]) -> dict[str, str]:
    """What the process gets: the few variables that every program needs, and those for it."""
    return {**get_default_environment(), **passed, **given}


@asynccontextmanager
async def process_streams(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path | None,
    *,
    largest: int,
    say: Say,
    ended: Callable[[str], None],
) -> AsyncGenerator[Streams]:
    """A process and the streams of its messages; it is gone afterwards.

    `largest` is in bytes, of one message. `say` is given each line of its stderr, `ended` why no
    more messages come. Raises UnavailableError where it cannot be started.
    """
    try:
        process = await anyio.open_process(
            list(command), env=environment, cwd=folder, start_new_session=True
        )
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UnavailableError(f"cannot start {command[0]}: {why}; is it installed?") from error
    assert process.stdin is not None, "it is opened with pipes"
    assert process.stdout is not None, "likewise"
    assert process.stderr is not None, "likewise"
    leaving = False

    def end(why: str) -> None:
        if not leaving:
            ended(why)

    incoming, read = anyio.create_memory_object_stream[Incoming](0)
    write, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
    async with incoming, read, write, outgoing, anyio.create_task_group() as tasks:
        tasks.start_soon(_read, process.stdout, incoming, largest, say, end)
        tasks.start_soon(_write, process.stdin, outgoing, incoming, end)
        tasks.start_soon(_listen, process.stderr, say)
        try:
            yield read, write
        finally:
            leaving = True
            with anyio.CancelScope(shield=True):
                await _end(process)
            tasks.cancel_scope.cancel()


async def _read(
    stdout: anyio.abc.ByteReceiveStream,
    incoming: MemoryObjectSendStream[Incoming],
    largest: int,
    say: Say,
    ended: Callable[[str], None],
) -> None:
    """Messages until the process ends or sends one that is too large."""
    lines = BufferedByteReceiveStream(stdout)
    async with incoming:
        while True:
            try:
                line = await lines.receive_until(b"\n", largest)
            except anyio.DelimiterNotFound:
                ended(f"it sent a message of more than {largest} bytes")
                return
            except _GONE:
                ended("it ended")
                return
            message = _message(line, say)
            if message is not None:
                with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                    await incoming.send(message)


def _message(line: bytes, say: Say) -> SessionMessage | None:
    """One line as a message; None for an empty one, and for what is none."""
    if not line.strip():
        return None
    try:
        return SessionMessage(mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        say(f"(no message of MCP on its stdout) {line[:200].decode('utf-8', 'replace')}")
        return None


async def _write(
    stdin: anyio.abc.ByteSendStream,
    outgoing: MemoryObjectReceiveStream[SessionMessage],
    incoming: MemoryObjectSendStream[Incoming],
    ended: Callable[[str], None],
) -> None:
    """Messages to the process; one that does not read them counts as gone."""
    async with outgoing:
        async for message in outgoing:
            line = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            try:
                with anyio.fail_after(_WRITE):
                    await stdin.send(line.encode("utf-8", "replace") + b"\n")
            except (TimeoutError, *_GONE) as error:
                late = isinstance(error, TimeoutError)
                ended("it does not read its input" if late else "it ended")
                await incoming.aclose()
                return


async def _listen(stderr: anyio.abc.ByteReceiveStream, say: Say) -> None:
    """Lines of stderr, cut where they are long."""
    lines = BufferedByteReceiveStream(stderr)
    with suppress(*_GONE):
        while True:
            try:
                line = await lines.receive_until(b"\n", _STDERR_LINE)
            except anyio.DelimiterNotFound:
                line = await lines.receive(_STDERR_LINE)
            except anyio.IncompleteRead:
                line = lines.buffer
                if not line:
                    return
                await lines.receive(len(line))
            say(line.decode("utf-8", "replace"))


async def _end(process: anyio.abc.Process) -> None:
    """Let it end, else end it; every wait is bounded."""
    assert process.stdin is not None, "it is opened with pipes"
    with suppress(*_GONE):
        await process.stdin.aclose()
    with anyio.move_on_after(_FAREWELL):
        while process.returncode is None:  # noqa: ASYNC110 - wait() also waits for its children's pipes
            await anyio.sleep(_POLL)
    await terminate_posix_process_tree(process, _FAREWELL)
    with anyio.move_on_after(_FAREWELL), suppress(*_GONE):
        await process.aclose()
