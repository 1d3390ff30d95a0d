"""One MCP server, kept connected: its tools as it lists them, and calls of them.

    connect, list the tools ─▶ up: calls go through
    it says that its tools have changed, or has others after a restart ─▶ who keeps it is told
    it ends, it forgets us, a call finds nobody ─▶ away: pauses that double, connect again
    a call while it is away ─▶ waits a little, then says so; it was not begun
    a call under way when it went ─▶ pure, idempotent: once more; once: in doubt

The connection belongs to one task from beginning to end, as its scopes want it; calls come from
other tasks and use its session.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import anyio
import anyio.abc
from mcp.client.client import Client
from mcp.client.session import ClientSession, IncomingMessage
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    LoggingMessageNotificationParams,
    ToolListChangedNotification,
)
from pydantic import BaseModel, ValidationError

from galerne.errors import GalerneError, UnavailableError
from galerne.logs import get_logger
from galerne.messages.tools import Effect
from galerne.retry import RetryPolicy
from galerne.settings import McpSettings
from galerne.tools import ToolContext
from galerne_tools.mcp import mapping
from galerne_tools.mcp.limited import Limited, Say, printable
from galerne_tools.mcp.listing import SETTLE, Listed, News, list_tools, listen
from galerne_tools.secrets import Secret

log = get_logger("galerne.tools.mcp")

AWAY = 10.0
"""Seconds that a call waits for a server that is away: most restarts take less."""
STEADY = 60.0
"""Seconds after which a connection counts as a good one: the next pause is a short one again."""
_PAUSES = RetryPolicy(first=0.5, longest=30.0)

Said = TypeVar("Said", bound=BaseModel)
Opens = Callable[[Callable[[str], None], Say], Any]
"""Makes the streams to the server; given what to call when it has gone, with the reason, and with
each line that it writes beside."""


class _Up(NamedTuple):
    session: ClientSession
    lost: "Lost"


class Lost:
    """Set when a connection is of no use any more; `why` is a clause."""

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.why = "the connection was lost"

    def __call__(self, why: str) -> None:
        if not self.event.is_set():
            self.why = why
            self.event.set()


class McpServer:
    """`opens` makes the streams to it; `jitter` gives numbers from 0 to 1, to spread its pauses."""

    def __init__(
        self,
        name: str,
        settings: McpSettings,
        opens: Opens,
        secret: Secret,
        version: str,
        jitter: Callable[[], float],
    ) -> None:
        self.name = name
        self.settings = settings
        self._opens = opens
        self._secret = secret
        self._about = Implementation(name="galerne", version=version)
        self._jitter = jitter
        self.listed = Listed([], "")
        self._up: _Up | None = None
        self._changed = anyio.Event()
        self._says = Limited(self._say)

    async def run(
        self,
        changed: Callable[[], None],
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Keep it connected until cancelled; started when its tools are `listed`.

        `changed` is called when they are others than before. Raises GalerneError where the first
        try fails; later ones are logged.
        """
        failures, is_first = 0, True

        def hear(found: Listed) -> None:
            nonlocal is_first
            before, self.listed = self.listed, found
            if is_first:
                is_first = False
                task_status.started()
            elif found != before:
                log.info("an MCP server has other tools now", server=self.name)
                changed()

        while True:
            began = anyio.current_time()
            problem = self._cleaned(await self._connection(hear))
            if is_first:
                raise problem
            failures = 1 if anyio.current_time() - began > STEADY else failures + 1
            pause = _PAUSES.delay(failures, self._jitter(), None)
            log.warning(
                "an MCP server is away",
                server=self.name,
                why=str(problem),
                again_in=round(pause, 1),
            )
            await anyio.sleep(pause)

    async def _connection(self, hear: Callable[[Listed], None]) -> GalerneError:
        """One connection from beginning to end; gives why it has ended."""
        lost = Lost()
        try:
            with anyio.CancelScope(deadline=anyio.current_time() + self.settings.start) as starting:
                news = News()
                async with self._client(lost, news) as client:
                    hear(await self._list(client))
                    starting.deadline = math.inf
                    self._set(_Up(client.session, lost))
                    tools = len(self.listed.tools)
                    log.info("an MCP server is connected", server=self.name, tools=tools)
                    async with anyio.create_task_group() as beside:
                        beside.start_soon(listen, client, news)
                        beside.start_soon(self._list_again, client, news, hear)
                        await lost.event.wait()
                        beside.cancel_scope.cancel()
            if starting.cancelled_caught:
                return mapping.of_connecting(self.name, TimeoutError())
        except Exception as error:  # noqa: BLE001 - whatever a transport or a server has broken
            if lost.event.is_set() and not isinstance(error, GalerneError):
                return UnavailableError(
                    f"MCP server {self.name} is gone: {lost.why}; what it said stands in the log"
                )
            return mapping.of_connecting(self.name, error)
        finally:
            self._set(None)
        return UnavailableError(f"MCP server {self.name} went away: {lost.why}")

    async def _list(self, client: Client) -> Listed:
        info = client.server_info
        found = await list_tools(client.session, self.name)
        tools = [self._without_secret(tool) for tool in found]
        return Listed(tools, info.version if info else "")

    async def _list_again(self, client: Client, news: News, hear: Callable[[Listed], None]) -> None:
        """Whenever the server says that they have changed; not more often than every so often."""
        while True:
            await news.wait()
            await anyio.sleep(SETTLE)
            news.clear()
            try:
                with anyio.fail_after(self.settings.start):
                    found = await self._list(client)
            except (GalerneError, MCPError, TimeoutError, ValidationError) as error:
                problem = self._cleaned(mapping.of_connecting(self.name, error))
                log.warning("its tools cannot be listed again", why=str(problem))
            else:
                hear(found)

    def _client(self, lost: Lost, news: News) -> Client:
        async def take(message: IncomingMessage) -> None:
            if isinstance(message, ToolListChangedNotification):
                news.set()

        return Client(
            self._opens(lost, self._says),
            cache=None,
            client_info=self._about,
            message_handler=take,
            logging_callback=self._log,
        )

    async def _log(self, params: LoggingMessageNotificationParams) -> None:
        self._says(mapping.line(params.data))

    def _say(self, text: str) -> None:
        log.info("MCP server says", server=self.name, text=printable(self._secret.clean(text)))

    def _cleaned(self, error: GalerneError) -> GalerneError:
        """The same without the secret, which servers are known to repeat."""
        return type(error)(self._secret.clean(str(error)))

    def _without_secret(self, said: Said) -> Said:
        """Likewise."""
        if not self._secret:
            return said
        clean = self._secret.clean(said.model_dump_json(by_alias=True, exclude_unset=True))
        return type(said).model_validate_json(clean, by_name=False)

    def _set(self, up: _Up | None) -> None:
        self._up = up
        self._changed.set()
        self._changed = anyio.Event()

    async def call(
        self, tool: str, arguments: dict[str, Any], effect: Effect, context: ToolContext
    ) -> CallToolResult:
        """Call a tool by the server's own name of it.

        Raises ToolError (it refuses), UnavailableError (it is away; the call had no effect that
        matters) and InDoubtError (it went away during a call of effect `once`).
        """
        tries = 1 if effect == "once" else 2
        while True:
            up = await self._is_up()
            try:
                return await self._ask(up.session, tool, arguments, context)
            except MCPError as error:
                begun = not mapping.is_forgotten(error)
                if begun and not (up.lost.event.is_set() or mapping.is_lost(error)):
                    raise self._cleaned(mapping.of_call(self.name, error)) from error
                up.lost(mapping.line(error.error.message))
                tries -= begun
                if tries <= 0:
                    lost = mapping.of_lost_call(self.name, effect, up.lost.why)
                    raise self._cleaned(lost) from error
            except (ValidationError, ValueError, RuntimeError) as error:
                raise self._cleaned(mapping.of_call(self.name, error)) from error
            await self._moved_on(up)

    async def _ask(
        self, session: ClientSession, tool: str, arguments: dict[str, Any], context: ToolContext
    ) -> CallToolResult:
        """One request. Not `call_tool`, which compares the result with the server's schema in
        Python, for as long as a hostile pattern in it may take.
        """

        async def tell(progress: float, total: float | None, message: str | None) -> None:
            has_total = total is not None and total > 0
            amount = f"{progress:g} of {total:g}" if has_total else f"{progress:g}"
            text = self._secret.clean(message or amount)
            context.progress(text, progress / total if total and has_total else None)

        result = await session.send_request(
            CallToolRequest(params=CallToolRequestParams(name=tool, arguments=arguments)),
            CallToolResult,
            progress_callback=tell,
        )
        return self._without_secret(result)

    async def _is_up(self) -> _Up:
        """The connection, waited for a little. Raises UnavailableError."""
        with anyio.move_on_after(AWAY):
            while self._up is None or self._up.lost.event.is_set():
                await self._changed.wait()
            return self._up
        raise UnavailableError(
            f"MCP server {self.name} is away; the call was not begun, so try again later"
        )

    async def _moved_on(self, up: _Up) -> None:
        """Wait, not for ever, until that connection has been given up."""
        with anyio.move_on_after(AWAY):
            while self._up is up:
                await self._changed.wait()
