"""What tools an MCP server has, and the word that it has others now."""

from contextlib import suppress
from typing import NamedTuple

import anyio
from mcp.client.client import Client
from mcp.client.session import ClientSession
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.shared.exceptions import MCPError
from mcp_types import PaginatedRequestParams, Tool

from galerne.errors import PermanentError

MOST_TOOLS = 500
"""Tools of one server: more than any model can choose from."""
MOST_PAGES = 100
"""Parts in which it may list them."""
SETTLE = 1.0
"""Seconds from the word that its tools have changed until they are listed again: whoever changes
one often changes several."""


class Listed(NamedTuple):
    """What a server says of itself."""

    tools: list[Tool]
    version: str


class News:
    """That a server's tools may have changed."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        self._event.set()

    def clear(self) -> None:
        self._event = anyio.Event()

    async def wait(self) -> None:
        await self._event.wait()


async def listen(client: Client, news: News) -> None:
    """Servers of today's protocol tell who asks, older ones everybody; until they stop to."""
    tools = client.server_capabilities.tools
    if tools is None or not tools.list_changed:
        return
    with suppress(ListenNotSupportedError, SubscriptionLost, MCPError):
        async with client.listen(tools_list_changed=True) as changes:
            async for _ in changes:
                news.set()


async def list_tools(session: ClientSession, server: str) -> list[Tool]:
    """All of them, in the order of the server. Raises PermanentError for a list without end."""
    found: list[Tool] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await session.list_tools(params=PaginatedRequestParams(cursor=cursor))
        found += page.tools
        if len(found) > MOST_TOOLS:
            raise PermanentError(
                f"MCP server {server} lists more than {MOST_TOOLS} tools, too many for a model"
            )
        if not page.next_cursor or page.next_cursor == cursor:
            return found
        cursor = page.next_cursor
    raise PermanentError(f"MCP server {server} lists its tools in more than {MOST_PAGES} parts")
