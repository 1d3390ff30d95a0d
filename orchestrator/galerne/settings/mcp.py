"""Servers of the Model Context Protocol whose tools go on the bus."""

from typing import Literal

import msgspec

from galerne.settings.section import Section

EffectWord = Literal["pure", "idempotent", "once"]


class McpSettings(Section, frozen=True):
    """One MCP server: each tool that is allowed goes on the bus. Needs the extra `mcp`."""

    server: str
    """The command that starts it, as in a shell without one, or the URL of its streamable HTTP."""
    tools: tuple[str, ...] = ("*",)
    """Its tools that are offered, by its own names, with `*` for any part of one."""
    approve: tuple[str, ...] = ()
    """Tools before which a person is asked, named in the same way."""
    effects: dict[str, EffectWord] = msgspec.field(default_factory=dict)
    """Tool → its effect, named in the same way; the first that fits counts. None: what the server
    says of it, and `once` where it says nothing."""
    environment: dict[str, str] = msgspec.field(default_factory=dict)
    """Variables of the command beside the few that every program needs; for no secrets."""
    pass_on: tuple[str, ...] = ()
    """Variables of the tool worker that the command gets too. So its secrets are in no settings."""
    folder: str | None = None
    """Folder in which the command runs; None: the worker's."""
    auth_variable: str | None = None
    """Environment variable with the bearer token for the URL. So it is in no settings."""
    auth_file: str | None = None
    """File whose one line is the token; not together with the variable."""
    start: float = 30.0
    """Seconds until it must have said what its tools are: some install themselves first."""
    timeout: float = 60.0
    """Seconds for one call."""
    largest: int = 16 * 1024 * 1024
    """Bytes of one message from it: pictures come in base64. A larger one ends the connection."""
