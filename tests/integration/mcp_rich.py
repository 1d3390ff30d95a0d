"""An MCP server for the tests, with the official package: run it with `stdio`, or `http PORT`."""

import base64
import os
import sys
from pathlib import Path
from typing import Any

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)

PIXEL = b"\x89PNG\r\n\x1a\n" + bytes(range(64))
IDEMPOTENT = ToolAnnotations(read_only_hint=False, idempotent_hint=True)
READS = ToolAnnotations(read_only_hint=True)

server: MCPServer = MCPServer("rich", version="3.1")


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


@server.tool(annotations=READS, structured_output=False)
def picture() -> CallToolResult:
    """A picture alone."""
    return CallToolResult(content=[ImageContent(data=base64_of(PIXEL), mime_type="image/png")])


@server.tool(annotations=READS, structured_output=False)
def everything() -> CallToolResult:
    """One of each kind of content."""
    held = BlobResourceContents(
        uri="file:///x/data.bin", blob=base64_of(b"\0\1\2"), mime_type="application/octet-stream"
    )
    told = TextResourceContents(uri="file:///x/note.txt", text="a note", mime_type="text/plain")
    link = ResourceLink(name="more", uri="https://example.com/more", mime_type="text/html")
    return CallToolResult(
        content=[
            TextContent(text="look:"),
            ImageContent(data=base64_of(PIXEL), mime_type="image/png"),
            AudioContent(data=base64_of(b"RIFF"), mime_type="audio/wav"),
            EmbeddedResource(resource=held),
            EmbeddedResource(resource=told),
            link,
        ]
    )


@server.tool(annotations=READS)
def environment(name: str) -> str:
    """A variable of this server's."""
    return os.environ.get(name, "(not set)")


@server.tool(structured_output=False)
def refuse(why: str) -> str:
    """Says no."""
    raise ToolError(f"no: {why}")


@server.tool(annotations=READS, structured_output=False)
async def count_to(n: int, context: Context[Any, Any]) -> str:
    """Counts, and says how far it is."""
    for i in range(1, n + 1):
        await context.report_progress(i, n, f"at {i}")
    return "counted"


@server.tool(structured_output=False)
async def wait_for_ever(file: str) -> None:
    """Writes `<file>.begun`, and `<file>.cancelled` when it is stopped."""
    await anyio.Path(f"{file}.begun").touch()
    try:
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.Path(f"{file}.cancelled").touch()


@server.tool(structured_output=False)
async def learn(name: str, context: Context[Any, Any]) -> str:
    """Has one more tool from now on."""

    def learned() -> str:
        return f"I have learned to {name}"

    server.add_tool(learned, name=name, annotations=READS, structured_output=False)
    await context.notify_tools_changed()
    return "learned"


@server.tool(annotations=READS, structured_output=False)
def repeat(text: str) -> str:
    """The same."""
    return text


@server.tool(annotations=READS, structured_output=False)
def header(name: str, context: Context[Any, Any]) -> str:
    """A header of the request."""
    return f"it is {dict(context.headers or {}).get(name)}"


def die(file: str) -> str:
    """Ends this server, once: where the file is there, it answers."""
    if Path(file).exists():
        return "alive"
    Path(file).touch()
    os._exit(3)


server.add_tool(die, name="die_pure", annotations=READS, structured_output=False)
server.add_tool(die, name="die.again", annotations=IDEMPOTENT, structured_output=False)
server.add_tool(die, name="die_once", structured_output=False)

if __name__ == "__main__":
    sys.stderr.write("rich is here\n")
    if sys.argv[1] == "http":
        server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[2]))
    else:
        server.run("stdio")
