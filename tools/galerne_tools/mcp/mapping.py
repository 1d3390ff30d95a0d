"""The errors of `mcp` and of what carries its messages, as ours; the only place that knows them."""

from typing import TYPE_CHECKING

import anyio
import httpx2
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, PARSE_ERROR
from pydantic import ValidationError

from galerne.errors import (
    DeadlineError,
    GalerneError,
    InDoubtError,
    PermanentError,
    ToolError,
    UnavailableError,
)

if TYPE_CHECKING:
    from galerne.messages.tools import Effect

_FORGOTTEN = "Session terminated"
"""What the client of `mcp` says where an HTTP server does not know the session any more: it was
not called then (`mcp.client.streamable_http`)."""
_FAILED = "Server returned an error response"
"""What it says of an HTTP status that carries no error of the protocol."""
_MOST = 300


def line(error: object) -> str:
    """What somebody else's error says, in one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"


def is_forgotten(error: MCPError) -> bool:
    """Whether the server has not begun the call because it does not know us any more."""
    return error.error.message == _FORGOTTEN


def is_lost(error: MCPError) -> bool:
    """Whether nobody knows what has become of a call over HTTP."""
    return error.error.code == CONNECTION_CLOSED or error.error.message == _FAILED


def of_connecting(server: str, raised: BaseException) -> GalerneError:
    """Why there is no connection to a server, or no list of its tools."""
    error = first_of(raised)
    match error:
        case GalerneError():
            return error
        case TimeoutError():
            return DeadlineError(
                f"MCP server {server} did not say what its tools are in time; does it speak MCP?"
                f" Else set tools.mcp.{server}.start higher"
            )
        case httpx2.HTTPError() | OSError() | httpx2.InvalidURL():
            return UnavailableError(f"MCP server {server} cannot be reached: {line(error)}")
        case MCPError() if is_lost(error):
            return UnavailableError(
                f"MCP server {server} closed the connection: {line(error.error.message)}; what it"
                " said stands in the log"
            )
        case MCPError():
            return PermanentError(f"MCP server {server} refuses: {line(error.error.message)}")
        case ValidationError() | ValueError() | RuntimeError():
            return PermanentError(
                f"MCP server {server} does not keep to MCP: {_of_pydantic(error)}"
            )
        case anyio.ClosedResourceError() | anyio.BrokenResourceError():
            return UnavailableError(f"MCP server {server} closed the connection")
        case _:
            return PermanentError(
                f"MCP server {server} cannot be used: {type(error).__name__}: {line(error)}"
            )


def of_lost_call(server: str, effect: "Effect", why: str) -> GalerneError:
    """A call whose server went away while it was at it."""
    if effect == "once":
        return InDoubtError(
            f"MCP server {server} went away during the call ({why}); it may or may not have had"
            " its effect, so do not call it again before someone has looked"
        )
    return UnavailableError(
        f"MCP server {server} went away during the call ({why}), twice; calling again is safe,"
        " later or with other arguments"
    )


def of_call(server: str, raised: Exception) -> GalerneError:
    """A call that the server has answered with an error of the protocol, or with nonsense."""
    if isinstance(raised, MCPError) and raised.error.code != PARSE_ERROR:
        return ToolError(f"MCP server {server} refuses the call: {line(raised.error.message)}")
    said = raised.error.message if isinstance(raised, MCPError) else _of_pydantic(raised)
    return ToolError(
        f"MCP server {server} was called, and its answer is no result of MCP: {line(said)}"
    )


def _of_pydantic(error: BaseException) -> str:
    """Its first fault; the whole repeats what the server has sent."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"][-3:])
        return line(f"{where}: {first['msg']}")
    return line(error)


def first_of(raised: BaseException) -> BaseException:
    """The first error that is none of a group, however deep."""
    match raised:
        case BaseExceptionGroup(exceptions=(first, *_)):
            return first_of(first)
        case _:
            return raised
