"""Galerne: a durable, event-driven fleet of agents on NATS.

    async with Client.connect("nats://127.0.0.1:4222") as client:
        job = await client.submit("Count the words in README.md")
        print(await job.result())

The names here are the public ones; each is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from galerne.client import Client, Job, JobEvent, JobSummary
    from galerne.core.open_question import OpenQuestion, Word
    from galerne.errors import (
        BusyError,
        GalerneError,
        InDoubtError,
        InvalidInputError,
        JobFailedError,
        NotFoundError,
        PermanentError,
        TooLargeError,
        TransientError,
        UnavailableError,
    )
    from galerne.local import RunFailedError, RunResult, run, run_sync
    from galerne.messages.facts import Turn
    from galerne.messages.plan import Budget
    from galerne.planner import Plan, Planner
    from galerne.settings import Settings, load_settings
    from galerne.tools import Tool, ToolContext, schema_tool, tool

    __version__: str

__all__ = [
    "run",
    "run_sync",
    "RunResult",
    "RunFailedError",
    "Client",
    "Job",
    "JobEvent",
    "JobSummary",
    "OpenQuestion",
    "Word",
    "Budget",
    "Planner",
    "Plan",
    "Turn",
    "tool",
    "schema_tool",
    "Tool",
    "ToolContext",
    "Settings",
    "load_settings",
    "GalerneError",
    "PermanentError",
    "TransientError",
    "InDoubtError",
    "InvalidInputError",
    "TooLargeError",
    "UnavailableError",
    "BusyError",
    "JobFailedError",
    "NotFoundError",
    "__version__",
]

_HOMES = {
    "run": "galerne.local",
    "run_sync": "galerne.local",
    "RunResult": "galerne.local",
    "RunFailedError": "galerne.local",
    "Client": "galerne.client",
    "Job": "galerne.client",
    "JobEvent": "galerne.client",
    "JobSummary": "galerne.client",
    "OpenQuestion": "galerne.core.open_question",
    "Word": "galerne.core.open_question",
    "Budget": "galerne.messages.plan",
    "Planner": "galerne.planner",
    "Plan": "galerne.planner",
    "Turn": "galerne.messages.facts",
    "tool": "galerne.tools",
    "schema_tool": "galerne.tools",
    "Tool": "galerne.tools",
    "ToolContext": "galerne.tools",
    "Settings": "galerne.settings",
    "load_settings": "galerne.settings",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("galerne")
    if name not in __all__:
        raise AttributeError(f"module 'galerne' has no attribute {name!r}")
    found = getattr(import_module(_HOMES.get(name, "galerne.errors")), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
