"""In-process execution: a goal carried out here, by the fleet's own scheduler and agents.

    result = await galerne.run("Count the words in README.md, then …", tools=[my_function])

The facts of the job are the same as on the bus, and so are the functions that decide on them
(`core`) and the agents that do the tasks; only what lies between is memory instead of a server.
"""

from galerne.local.result import RunFailedError, RunResult
from galerne.local.running import run, run_sync

__all__ = ["run", "run_sync", "RunResult", "RunFailedError"]
