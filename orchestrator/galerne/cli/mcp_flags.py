"""`--mcp 'command or URL'` as the settings of a server, with a name that it did not have to say."""

import re
import shlex
from collections.abc import Iterable
from pathlib import PurePath
from urllib.parse import urlsplit

import msgspec

from galerne.errors import InvalidInputError
from galerne.settings import McpSettings, Settings

_NAMED = re.compile(r"([A-Za-z0-9_-]{1,32})=(.+)", re.DOTALL)
_RUNNERS = frozenset({"uvx", "npx", "pipx", "uv", "run", "tool", "env", "node", "deno", "bunx"})
_PYTHON = re.compile(r"python[0-9.]*")
_LONGEST = 32


def with_mcp(settings: Settings, given: Iterable[str]) -> Settings:
    """The settings with these servers too. Raises InvalidInputError for two of one name."""
    servers = dict(settings.tools.mcp)
    for text in given:
        named = _NAMED.fullmatch(text)
        server = named[2] if named else text
        name = named[1] if named else name_of(server)
        if name in servers:
            raise InvalidInputError(
                f"two MCP servers are named {name}: name one, as in --mcp 'other={server}'"
            )
        servers[name] = McpSettings(server=server)
    tools = msgspec.structs.replace(settings.tools, mcp=servers)
    return msgspec.structs.replace(settings, tools=tools)


def name_of(server: str) -> str:
    """What a server may be called, by its command or URL: `time` for `uvx mcp-server-time`."""
    if server.lower().startswith(("http://", "https://")):
        return _clean(urlsplit(server).netloc.rpartition("@")[2])
    try:
        words = shlex.split(server)
    except ValueError as error:
        raise InvalidInputError(f"--mcp {server!r} is no command: {error}") from error
    for word in words:
        plain = PurePath(word).name
        if word.startswith("-") or plain in _RUNNERS or _PYTHON.fullmatch(plain):
            continue
        return _clean(plain.partition("@")[0] or plain)
    return "mcp"


def _clean(text: str) -> str:
    """As a name, without what all of them have in common."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", text.removesuffix(".py").removesuffix(".js"))
    name = re.sub(r"^(mcp-)?server-|-mcp(-server)?$|^mcp-", "", name.strip("-"))
    return name[:_LONGEST].strip("-") or "mcp"
