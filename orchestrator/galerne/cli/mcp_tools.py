"""The fleet as tools of MCP: submit a job, watch it, read its result, cancel it, list jobs.

Every call has a connection of its own and asks the job's log, so a host may end, come back and go
on with the id alone, and a server that is away is an error of that call and no more. Errors are
one line, for the model of the host to read.
"""

from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, InputRequiredResult, ToolAnnotations
from pydantic import Field, ValidationError

from galerne.cli.text import one_line, progress_text
from galerne.client import Client, Job
from galerne.core.asks import call_name
from galerne.core.fold import fold
from galerne.core.state import JobState
from galerne.core.view import JobView, view
from galerne.errors import GalerneError
from galerne.messages.live import Delta, Progress
from galerne.settings import BusSettings
from galerne.tools import BlobFile

MOST_SECONDS = 300.0
"""Of one watch: hosts give a call up after some minutes, and may watch again."""
MOST_TEXT = 64 * 1024
"""Bytes of a large result that are shown; the whole is fetched with `galerne fetch`."""
_ATTEMPT = 20.0
"""Seconds for what only asks or hands over."""
_OPEN = frozenset({"queued", "running"})
_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_GUIDE = (
    "Galerne is a durable fleet of agents. submit_job hands over a goal in words and gives a job's"
    " id at once; watch_job follows the job for a while; job_result gives its answer when it has"
    " ended. A job goes on when nobody watches."
)


def fleet_server(bus: BusSettings, tenant: str, version: str) -> MCPServer:
    """A server of MCP whose tools act on the fleet behind `bus`, for one tenant."""
    server = _StrictServer("galerne", version=version, instructions=_GUIDE)
    fleet = FleetTools(bus, tenant)
    repeatable = ToolAnnotations(
        read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
    )
    spends = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False)
    server.add_tool(fleet.submit_job, annotations=spends)
    server.add_tool(fleet.watch_job, annotations=_READS)
    server.add_tool(fleet.job_result, annotations=_READS)
    server.add_tool(fleet.cancel_job, annotations=repeatable)
    server.add_tool(fleet.list_jobs, annotations=_READS)
    return server


class _StrictServer(MCPServer):
    """Refuses wrong arguments in one line, and those that a tool does not have.

    The library drops the latter silently: a misspelt `tools` or `timeout` would be a job without
    that limit.
    """

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        has = {tool.name: tool.input_schema["properties"] for tool in await self.list_tools()}
        if name in has and (odd := sorted(arguments.keys() - has[name].keys())):
            raise ToolError(_no_such(odd[0], has[name].keys()))
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            raise ToolError(wrong_arguments(error.__cause__)) from error


def wrong_arguments(error: ValidationError) -> str:
    """What pydantic found, in one line, without the values; pure."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    told = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
    return one_line(f"wrong arguments: {'; '.join(told)}")


def _no_such(argument: str, there_are: Collection[str]) -> str:
    shown = one_line(argument, 40)
    return f"wrong arguments: there is no argument {shown!r}; there are {', '.join(there_are)}"


class FleetTools:
    """What a host may do; each method is a tool, its docstring what the host's model reads."""

    def __init__(self, bus: BusSettings, tenant: str) -> None:
        self._bus = bus
        self._tenant = tenant

    async def submit_job(
        self,
        goal: Annotated[str, Field(description="what to do, in words")],
        key: Annotated[
            str | None, Field(description="the same key again is the same job, not a second one")
        ] = None,
        inputs: Annotated[
            dict[str, Any] | None, Field(description="values that the goal speaks of, by name")
        ] = None,
        tools: Annotated[
            list[str] | None, Field(description="the only tools that the job may call")
        ] = None,
        timeout: Annotated[  # noqa: ASYNC109 - the job's time, not this call's
            float | None, Field(description="seconds until it has to be over")
        ] = None,
    ) -> dict[str, Any]:
        """Hand a job to the fleet. It is stored and will be done; gives its id at once."""
        async with self._client() as client:
            with anyio.fail_after(_ATTEMPT):
                job = await client.submit(
                    goal, key=key, inputs=inputs, tools=tools, timeout=timeout
                )
                return {"job": str(job.id)}

    async def watch_job(
        self,
        context: Context[Any, Any],
        job: Annotated[str, Field(description="the id that submit_job gave")],
        seconds: Annotated[
            float, Field(description="how long to follow it at most", gt=0, le=MOST_SECONDS)
        ] = 60.0,
    ) -> dict[str, Any]:
        """Follow a job until it ends, or for so many seconds; says how far it is.

        Progress is told meanwhile. A job that still runs afterwards goes on: watch it again.
        """
        async with self._client() as client:
            one = client.job(job)
            with anyio.move_on_after(seconds):
                await _follow(one, context)
            with anyio.fail_after(_ATTEMPT):
                return report(await one.view())

    async def job_result(
        self, job: Annotated[str, Field(description="the id that submit_job gave")]
    ) -> dict[str, Any]:
        """The result of a job that has ended. Watch a job that still runs.

        "unsupported" names numbers in it that no result of a tool says.
        """
        async with self._client() as client:
            with anyio.fail_after(_ATTEMPT):
                one = client.job(job)
                seen = await one.view()
                if seen.status in _OPEN:
                    raise ToolError(f"job {job} is {seen.status}: use watch_job to wait for it")
                if seen.status != "succeeded":
                    why = f": {one_line(seen.error)}" if seen.error else ""
                    raise ToolError(f"job {job} has no result, it ended as {seen.status}{why}")
                doubt = {"unsupported": list(seen.unsupported)} if seen.unsupported else {}
                return {"job": job, "result": await _shown(await one.output()), **doubt}

    async def cancel_job(
        self,
        job: Annotated[str, Field(description="the id that submit_job gave")],
        why: Annotated[str, Field(description="a sentence for the log")] = "cancelled over MCP",
    ) -> dict[str, Any]:
        """Ask the fleet to stop a job. What it has done stays in its log."""
        async with self._client() as client:
            with anyio.fail_after(_ATTEMPT):
                await client.job(job).cancel(why)
                return {"job": job, "cancel": "requested"}

    async def list_jobs(
        self, limit: Annotated[int, Field(description="how many", ge=1, le=100)] = 20
    ) -> dict[str, Any]:
        """The newest jobs, newest first: id, status, goal, seconds."""
        async with self._client() as client:
            with anyio.fail_after(_ATTEMPT):
                found = await client.jobs(limit)
                return {
                    "jobs": [
                        {
                            "job": str(one.id),
                            "status": one.status,
                            "goal": one_line(one.goal, 200),
                            "seconds": round(one.seconds, 1),
                            "open_questions": one.asks,
                        }
                        for one in found
                    ]
                }

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[Client]:
        """A connection for one call; errors become what a host reads. Raises ToolError."""
        try:
            async with Client.connect(settings=self._bus, tenant=self._tenant) as client:
                yield client
        except GalerneError as error:
            raise ToolError(one_line(str(error))) from error
        except TimeoutError as error:
            raise ToolError(
                f"the fleet did not answer within {_ATTEMPT:g} s: is its server well?"
            ) from error


def report(seen: JobView) -> dict[str, Any]:
    """A job as the model of a host reads it; pure."""
    ended = sum(task.status not in {"waiting", "ready", "running", "asking"} for task in seen.tasks)
    told: dict[str, Any] = {
        "job": seen.id,
        "status": seen.status,
        "tasks_done": ended,
        "tasks": len(seen.tasks),
        "running": [
            f"{task.id}: {one_line(task.instruction, 120)}"
            for task in seen.tasks
            if task.status == "running"
        ],
        "open_questions": [
            f"{call_name(ask.task, ask.n)}: {one_line(ask.question, 300)}" for ask in seen.asks
        ],
        "next": _advice(seen),
    }
    if seen.error:
        told["error"] = one_line(seen.error)
    return told


def _advice(seen: JobView) -> str:
    if seen.status not in _OPEN:
        return "job_result gives its result" if seen.status == "succeeded" else "it has no result"
    if seen.asks:
        return "a person has to answer: galerne approvals"
    return "watch_job follows it further"


async def _follow(job: Job, context: Context[Any, Any]) -> None:
    """Tell the host what happens until the job has ended."""
    state, told = JobState(), -1.0
    events = job.events(progress=True)
    try:
        async for event in events:
            if isinstance(event.fact, Progress):
                told = await _tell(context, told, state, job, progress_text(event.fact))
            elif not isinstance(event.fact, Delta):
                fold(state, event.fact, event.at)
                if not events.pending:
                    told = await _tell(context, told, state, job)
    finally:
        await events.aclose()


async def _tell(
    context: Context[Any, Any], told: float, state: JobState, job: Job, note: str = ""
) -> float:
    """One notice of progress, which the protocol wants to grow each time; gives what was told."""
    seen = report(view(state, job.id, job.tenant, 0.0))
    done, tasks = seen["tasks_done"], seen["tasks"]
    now = max(float(done), told + 0.001)
    text = f"{done} of {tasks} tasks done" if tasks else str(seen["status"])
    total = float(max(tasks, 1)) if now <= max(tasks, 1) else None
    await context.report_progress(now, total, f"{text}; {note}" if note else text)
    return now


async def _shown(value: Any) -> Any:
    """A result that fits into a message; of a large one its beginning."""
    if not isinstance(value, BlobFile):
        return value
    begins = (await value.head(MOST_TEXT)).decode("utf-8", "replace")
    return {"size": value.size, "name": value.name, "media": value.media, "begins": begins}
