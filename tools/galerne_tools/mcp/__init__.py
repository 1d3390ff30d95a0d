"""The tools of MCP servers, on the bus (`[tools.mcp.NAME]`, `galerne worker tools --mcp`).

    command or URL ─▶ connected, its tools listed ─▶ each becomes a tool given by its schema
    a call ─▶ the server's own call ─▶ text, structure, files put aside; progress on the way
    the server dies ─▶ calls under way become errors by their effect, it is started again

What a server says is a stranger's word: of bounded size, with a deadline, and never believed to be
more than data. `stdio` and `http` carry messages, `server` keeps one connected, `described` says
what its tools are here, `content` reads results, `mapping` errors, `offer` puts it together.
"""
