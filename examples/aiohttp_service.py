"""Plans as a service on aiohttp: the planner inside a web server of yours, without a bus.

GALERNE_PLANNER_ENDPOINT=http://127.0.0.1:11434 PORT=8080 python examples/aiohttp_service.py

curl -d '{"goal": "Count the words in README.md"}' http://127.0.0.1:8080/plans
curl -N -d '{"goal": "Compute 6 * 7", "tools": [{"name": "calculate", "parameters":
    {"properties": {"expression": {"type": "string"}}}}]}' http://127.0.0.1:8080/plans/stream

The tools come with the request, as OpenAI-style APIs take them. The stream is a line of JSON a
task, each the moment the model has written it; a client that goes away ends the model's work.
"""

import os
import socket
from typing import Any

import msgspec
from aiohttp import web

from galerne import GalerneError, InvalidInputError, Planner, TransientError


class Wanted(msgspec.Struct):
    """The body of a request."""

    goal: str
    tools: list[dict[str, Any]] = []
    inputs: dict[str, Any] | None = None


planner = Planner(
    os.environ.get("GALERNE_PLANNER_ENDPOINT", "http://127.0.0.1:11434"),
    model=os.environ.get("GALERNE_PLANNER_MODEL", "mixtral:8x22b"),
)


async def plan(request: web.Request) -> web.Response:
    """The whole plan as one document."""
    wanted = await body(request)
    made = await planner.plan(wanted.goal, wanted.tools, wanted.inputs)
    return web.json_response(body=msgspec.json.encode(made))


async def stream(request: web.Request) -> web.StreamResponse:
    """A line a task; the last one says that the plan is whole, or why it is not."""
    wanted = await body(request)
    async with planner.open(wanted.goal, wanted.tools, wanted.inputs) as tasks:
        task = await anext(tasks)  # until it is there, an error still has a status of its own
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        try:
            await response.write(msgspec.json.encode(task) + b"\n")
            async for task in tasks:
                await response.write(msgspec.json.encode(task) + b"\n")
            last = {"end": True, "rejected": tasks.rejected, "tokens": tasks.usage.tokens}
        except GalerneError as error:
            last = {"error": str(error)}
        await response.write(msgspec.json.encode(last) + b"\n")
    return response


async def body(request: web.Request) -> Wanted:
    """What is asked for. Raises InvalidInputError where it is something else."""
    try:
        return msgspec.json.decode(await request.read(), type=Wanted)
    except msgspec.DecodeError as error:
        raise InvalidInputError(f"the body is no request for a plan: {error}") from error


@web.middleware
async def one_line_errors(request: web.Request, handler: Any) -> web.StreamResponse:
    """400: ask for something else; 503: try again later; 502: the model's server refuses."""
    try:
        return await handler(request)
    except GalerneError as error:
        later = 503 if isinstance(error, TransientError) else 502
        status = 400 if isinstance(error, InvalidInputError) else later
        return web.json_response({"error": str(error)}, status=status)


if __name__ == "__main__":
    app = web.Application(middlewares=[one_line_errors])
    app.add_routes([web.post("/plans", plan), web.post("/plans/stream", stream)])
    listening = socket.create_server(("127.0.0.1", int(os.environ.get("PORT", "8080"))))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/plans", flush=True)
    web.run_app(app, sock=listening, print=None, handler_cancellation=True)
