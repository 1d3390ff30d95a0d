"""A tool worker as NATS tools see it: the micro service `galerne-tools`, an endpoint for each tool.

`nats micro list`, `info` and `stats` (or a request to `$SRV.INFO.galerne-tools`) show what is
served, with schema, effect and version in the endpoint's metadata, and how much it was called.
Who calls an endpoint gets whatever version is served; Galerne's own callers use the route.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import anyio
import anyio.abc

from galerne.bus.connection import Bus
from galerne.bus.service import About, Endpoint, Request, serve_endpoints
from galerne.bus.wire import Take
from galerne.errors import TransientError
from galerne.logs import get_logger
from galerne.messages.codec import encode
from galerne.messages.tools import ToolRefused, ToolReply, ToolResult, ToolSpec
from galerne.runtime.tool_active import ActiveCalls

log = get_logger("galerne.runtime.tools")

NAME = "galerne-tools"
QUEUE = "tools"
MOST_SCHEMA = 4_096
"""Bytes of a schema that stand in the metadata: all of a worker's tools answer in one message."""
_TRY_AGAIN = 1.0
"""Seconds until a service that could not be offered is offered again."""


class ToolService:
    """What is said of one worker's tools, and the counts of their calls."""

    def __init__(
        self,
        bus: Bus,
        me: str,
        specs: Mapping[str, ToolSpec],
        takes: Mapping[str, Take],
        active: ActiveCalls,
    ) -> None:
        self._bus = bus
        self._active = active
        self._done: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._about = About(
            name=NAME,
            version=version("galerne"),
            description="Typed tool calls for Galerne's agents",
            metadata={"prefix": bus.subjects.prefix, "worker": me},
        )
        self._endpoints = [
            (
                Endpoint(name, bus.subjects.tool(name), QUEUE, metadata_of(spec)),
                _as_request(takes[name]),
            )
            for name, spec in specs.items()
        ]

    async def run(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Be found until cancelled; started after the first try, even where the server is away."""
        told = False
        while True:
            try:
                async with serve_endpoints(self._bus, self._about, self._endpoints, self._stats):
                    if not told:
                        task_status.started()
                        told = True
                    await anyio.sleep_forever()
            except TransientError as error:
                log.warning("the tools cannot be found as a service yet", error=str(error))
            if not told:
                task_status.started()
                told = True
            await anyio.sleep(_TRY_AGAIN)

    def count(self, reply: ToolReply, tool: str) -> None:
        """One call is answered."""
        if isinstance(reply, ToolResult):
            self._done[tool] += 1
        elif isinstance(reply, ToolRefused):
            self._failed[tool] += 1

    def _stats(self, tool: str) -> dict[str, Any]:
        """What an endpoint's statistics show beside those of the library."""
        done, failed = self._done[tool], self._failed[tool]
        return {"active": self._active.of(tool), "succeeded": done, "failed": failed}


def metadata_of(spec: ToolSpec) -> dict[str, str]:
    """What NATS tools are shown of a tool: texts only."""
    schema = encode(spec.parameters).decode()
    if len(schema.encode()) > MOST_SCHEMA:
        schema = "too long for here: `galerne tools --json` has it"
    return {
        "description": spec.description[:MOST_SCHEMA],
        "effect": spec.effect,
        "version": spec.version,
        "approve": spec.approve,
        "timeout": f"{spec.timeout:g}",
        "route": spec.route,
        "schema": schema,
    }


def _as_request(take: Take) -> Callable[[Request], None]:
    def taken(request: Request) -> None:
        take(request.subject, request.reply, request.data, None)

    return taken
