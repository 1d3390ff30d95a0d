"""The tools of all MCP servers of the settings, while a tool worker runs."""

import logging
import os
import random
import re
import shlex
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc

from galerne.errors import InvalidSettingsError
from galerne.logs import get_logger
from galerne.messages.tools import Effect
from galerne.settings import McpSettings, ToolSettings
from galerne.tools import AnyTool, ToolContext
from galerne.tools.by_schema import OfArguments
from galerne.tools.sources import Offer
from galerne_tools.mcp.content import read_result
from galerne_tools.mcp.described import Names, described_tools
from galerne_tools.mcp.limited import Say
from galerne_tools.secrets import Secret, read_secret

if TYPE_CHECKING:
    from mcp_types import Tool

    from galerne_tools.mcp.server import McpServer, Opens

log = get_logger("galerne.tools.mcp")

SECRET = 8
"""Characters from which on a variable that is passed on is kept out of results and logs."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")


@asynccontextmanager
async def open_tools(
    settings: ToolSettings, taken: Collection[str], offer: Offer
) -> AsyncGenerator[None]:
    """Connected to the servers while it lasts; offers their tools, none of a name that is `taken`.

    Raises InvalidSettingsError, and GalerneError where a server cannot be reached or used at
    the start.
    """
    if not settings.mcp:
        yield
        return
    if find_spec("mcp") is None:
        raise InvalidSettingsError("tools.mcp needs an extra: pip install 'galerne[mcp]'")
    _quiet()
    servers = [_server(name, one) for name, one in settings.mcp.items()]
    names = Names(taken)

    def offer_all() -> None:
        offer(chain.from_iterable(_tools(server, names) for server in servers))

    problem: Exception | None = None
    async with anyio.create_task_group() as keeping:
        try:
            await _start(servers, keeping, offer_all)
            found = {server.name: _tools(server, names) for server in servers}
            _check(found)
            offer(chain.from_iterable(found.values()))
            yield
        except Exception as error:  # noqa: BLE001 - raised again, outside of the group
            problem = error
        keeping.cancel_scope.cancel()
    if problem is not None:
        raise problem


def _quiet() -> None:
    """What goes wrong is said here, in one line; the client's own lines quote what servers send,
    which may be our token.
    """
    for name in ("mcp", "client"):  # the second is that of `mcp.client.session`
        logging.getLogger(name).setLevel(logging.CRITICAL)


async def _start(
    servers: Collection["McpServer"], keeping: anyio.abc.TaskGroup, changed: Callable[[], None]
) -> None:
    """All of them at once, until each has listed its tools. Raises the first problem."""
    from galerne_tools.mcp.mapping import first_of

    async def start(server: "McpServer") -> None:
        await keeping.start(server.run, changed)

    try:
        async with anyio.create_task_group() as starting:
            for server in servers:
                starting.start_soon(start, server)
    except ExceptionGroup as group:
        raise first_of(group) from group


def _tools(server: "McpServer", names: Names) -> list[AnyTool]:
    """What a server offers now that can be served; the rest is logged."""

    def call_of(tool: "Tool", effect: Effect) -> OfArguments:
        async def call(arguments: dict[str, Any], context: ToolContext) -> Any:
            result = await server.call(tool.name, arguments, effect, context)
            return await read_result(result, tool.output_schema, context)

        return call

    tools, version = server.listed
    found, faults = described_tools(server.name, tools, version, server.settings, names, call_of)
    for fault in faults:
        log.warning("a tool of an MCP server is left out", server=server.name, why=fault)
    return found


def _check(found: Mapping[str, Collection[AnyTool]]) -> None:
    """Raises InvalidSettingsError where nothing of a server can be served at the start."""
    for name, tools in found.items():
        if not tools:
            raise InvalidSettingsError(
                f"MCP server {name} offers no tool that can be served: look at"
                f" tools.mcp.{name}.tools, and at the log"
            )


def _server(name: str, settings: McpSettings) -> "McpServer":
    """Not connected yet. Raises InvalidSettingsError."""
    from galerne_tools.mcp.server import McpServer

    if not _NAME.fullmatch(name):
        raise InvalidSettingsError(
            f"an MCP server cannot be named {name[:80]!r}: give up to 32 letters, digits, '_', '-'"
        )
    where = f"tools.mcp.{name}"
    over_http = settings.server.lower().startswith(("http://", "https://"))
    if over_http:
        secret = read_secret(settings.auth_variable, settings.auth_file, f"{where}.auth")
        opens = _url(settings, secret)
    else:
        passed = passed_on(settings.pass_on, where)
        secret = Secret(*(value for value in passed.values() if len(value) >= SECRET))
        opens = _command(where, settings, passed)
    return McpServer(name, settings, opens, secret, version("galerne"), random.random)


def _url(settings: McpSettings, token: Secret) -> "Opens":
    from galerne_tools.mcp.http import http_streams

    def opens(lost: Callable[[str], None], say: Say) -> Any:  # noqa: ARG001 - neither is there over HTTP
        return http_streams(settings.server, token, settings.largest, settings.timeout)

    return opens


def _command(where: str, settings: McpSettings, passed: Mapping[str, str]) -> "Opens":
    from galerne_tools.mcp.stdio import environment_of, process_streams

    if settings.auth_variable or settings.auth_file:
        raise InvalidSettingsError(f"{where}.auth_* are for a URL; give a command pass_on")
    command = split_command(settings.server, where)
    environment = environment_of(settings.environment, passed)
    folder = Path(settings.folder).expanduser() if settings.folder else None

    def opens(lost: Callable[[str], None], say: Say) -> Any:
        return process_streams(
            command, environment, folder, largest=settings.largest, say=say, ended=lost
        )

    return opens


def split_command(text: str, where: str) -> list[str]:
    """A command line as a shell reads it, without a shell. Raises InvalidSettingsError."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InvalidSettingsError(f"{where}: {text[:80]!r} is no command: {error}") from error
    if not words:
        raise InvalidSettingsError(f"{where}: it is empty; give a command or a URL")
    return words


def passed_on(
    names: Collection[str], where: str, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The variables of this process that are named. Raises InvalidSettingsError."""
    for name in names:
        if name not in environ:
            raise InvalidSettingsError(f"{where}.pass_on: the variable {name} is not set here")
    return {name: environ[name] for name in names}
