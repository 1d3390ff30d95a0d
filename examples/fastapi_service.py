"""Plans as a service on FastAPI: the planner inside a web server of yours, without a bus.

pip install fastapi uvicorn
GALERNE_PLANNER_ENDPOINT=http://127.0.0.1:11434 PORT=8080 python examples/fastapi_service.py

curl -d '{"goal": "Compute 6 * 7"}' -H 'Content-Type: application/json' http://127.0.0.1:8080/plans
curl -N 'http://127.0.0.1:8080/plans/stream?goal=Compute+6+*+7'

The tools are this program's own. The stream is of server-sent events, as a browser's EventSource
reads them: a task the moment the model has written it, then `end`, or `error` with the reason.
"""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

import msgspec
import uvicorn
from fastapi import Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse

from galerne import GalerneError, InvalidInputError, Planner, TransientError, tool


@tool
def calculate(expression: str) -> float:
    """Evaluate arithmetic, such as 6 * 7."""
    raise NotImplementedError("this service plans; whoever carries the plan out calculates")


app = FastAPI()
planner = Planner(
    os.environ.get("GALERNE_PLANNER_ENDPOINT", "http://127.0.0.1:11434"),
    model=os.environ.get("GALERNE_PLANNER_MODEL", "mixtral:8x22b"),
)


@app.post("/plans")
async def plan(goal: Annotated[str, Body(embed=True)]) -> Response:
    """The whole plan as one document."""
    made = await planner.plan(goal, [calculate])
    return Response(msgspec.json.encode(made), media_type="application/json")


@app.get("/plans/stream")
async def stream(goal: str) -> StreamingResponse:
    """An event a task. Whoever closes the connection closes the model's, too."""
    tasks = planner.stream(goal, [calculate])
    first = await anext(tasks)  # until it is there, an error still has a status of its own

    async def events() -> AsyncIterator[bytes]:
        async with aclosing(tasks):
            yield event("task", first)
            try:
                async for task in tasks:
                    yield event("task", task)
                yield event("end", {})
            except GalerneError as error:
                yield event("error", {"error": str(error)})

    return StreamingResponse(events(), media_type="text/event-stream")


def event(kind: str, data: Any) -> bytes:
    """A server-sent event."""
    return f"event: {kind}\ndata: {msgspec.json.encode(data).decode()}\n\n".encode()


@app.exception_handler(GalerneError)
async def failed(_: Request, error: GalerneError) -> JSONResponse:
    """400: ask for something else; 503: try again later; 502: the model's server refuses."""
    later = 503 if isinstance(error, TransientError) else 502
    status = 400 if isinstance(error, InvalidInputError) else later
    return JSONResponse({"error": str(error)}, status)


@app.exception_handler(RequestValidationError)
async def refused(_: Request, error: RequestValidationError) -> JSONResponse:
    """One line, where FastAPI's own answer is a list of objects."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return JSONResponse({"error": f"{where}: {first['msg']}"}, 400)


if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", int(os.environ.get("PORT", "8080"))))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/plans", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
