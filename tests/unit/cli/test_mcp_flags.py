"""`--mcp`: a command or a URL, and the name of the server."""

import pytest

from galerne.cli.mcp_flags import name_of, with_mcp
from galerne.errors import InvalidInputError
from galerne.settings import McpSettings, Settings, ToolSettings


@pytest.mark.parametrize(
    ("server", "name"),
    [
        ("mcp-server-time", "time"),
        ("uvx mcp-server-git --repository .", "git"),
        ("npx -y @modelcontextprotocol/server-filesystem@2025.1 /srv", "filesystem"),
        ("python3.12 -m mcp_server_sqlite", "sqlite"),
        ("/usr/bin/python /opt/my_server.py", "my-server"),
        ("https://user:secret@docs.example.com:8443/mcp", "docs-example-com-8443"),
        ("uvx", "mcp"),
    ],
)
def test_a_server_has_the_name_of_its_command(server: str, name: str) -> None:
    assert name_of(server) == name


def test_servers_come_beside_those_of_the_settings() -> None:
    settings = Settings(tools=ToolSettings(mcp={"git": McpSettings(server="a")}))
    servers = with_mcp(settings, ["mcp-server-time", "docs=https://example.com/mcp?a=b"]).tools.mcp
    assert {name: one.server for name, one in servers.items()} == {
        "git": "a",
        "time": "mcp-server-time",
        "docs": "https://example.com/mcp?a=b",
    }


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="two MCP servers are named time"):
        with_mcp(Settings(), ["mcp-server-time", "uvx mcp-server-time"])
    with pytest.raises(InvalidInputError, match="is no command"):
        with_mcp(Settings(), ["'"])
