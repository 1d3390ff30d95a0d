"""The contract between an agent and the worker runtime that hosts it.

An agent is a class without arguments in the entry-point group `galerne.agents`. The runtime
claims a task, keeps its lease, journals every model turn and tool result, and commits the
outcome; the agent only says what to ask next. An agent must be *deterministic between steps*: on
another worker the same code runs again from the top and every finished step returns from the
journal instead of being paid for twice.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any, ClassVar, Protocol

from galerne.errors import InvalidSettingsError
from galerne.messages.chat import ChatReply, ChatRequest
from galerne.messages.facts import AnyFact, Lane, Moved, Planned, Ready
from galerne.messages.ids import JobId, TenantId
from galerne.messages.plan import TaskKind
from galerne.messages.tools import ToolOutcome, ToolSpec
from galerne.planner.prompts import Prompts


class TaskContext(Protocol):
    """What an agent may do while it holds a task."""

    @property
    def job(self) -> JobId: ...
    @property
    def tenant(self) -> TenantId: ...
    @property
    def ready(self) -> Ready: ...
    @property
    def attempt(self) -> int: ...
    @property
    def prompts(self) -> Prompts:
        """The deployment's own texts, in place of an agent's."""
        ...

    async def ask(
        self, request: ChatRequest, on_text: Callable[[str], None] | None = None
    ) -> ChatReply:
        """Ask a model, once and for all: the answer is journaled as the next step. It is this
        worker's own one, until `move` goes on with a larger one.

        `on_text` gets the text piece by piece as it arrives (on a replay, whole). Raises
        TransientError or PermanentError; the runtime retries or fails the task. A TooLongError
        says that this model cannot take the request: `move` may find one that can.
        """
        ...

    async def move(self, reason: str) -> Moved | None:
        """Go on with a larger model, from the next `ask` on; None: there is none.

        `reason` is one line: what is wrong with the answers so far, or with the last
        request. The move is a fact of the job before anything is asked there.
        """
        ...

    async def start_above(self, reason: str) -> Moved | None:
        """As `move`, before the first `ask`: for a task that is to begin with a larger model.

        None, too, where an earlier attempt has begun lower, as it found no larger one.
        """
        ...

    async def call(self, call_id: str, tool: str, arguments: dict[str, Any]) -> ToolOutcome:
        """Call a tool by its next step. A tool's own failure comes back as `ToolRefused`."""
        ...

    async def tools(self) -> Sequence[ToolSpec]:
        """The tools that are served now and that the job allows, by name."""
        ...

    async def planned(self) -> Sequence[Planned]:
        """What an earlier attempt at this very plan has already written, in order."""
        ...

    def write(self, fact: AnyFact) -> None:
        """Write a fact of this job without waiting; the outcome is committed after all of them."""
        ...


class Agent(Protocol):
    """`lane` says which queue it serves, `kinds` which tasks there are its own."""

    lane: ClassVar[Lane]
    kinds: ClassVar[frozenset[TaskKind]]

    async def run(self, context: TaskContext) -> Any:
        """Do the task and return its value (JSON), or a `Succeeded` that says more of it.

        Raise a GalerneError to fail it.
        """
        ...


def load_agents(lane: Lane) -> dict[str, Agent]:
    """The installed agents (entry-point group `galerne.agents`) of a lane, by kind of task.

    Raises InvalidSettingsError where two want the same kind, or none is there.
    """
    agents: dict[str, Agent] = {}
    for entry in sorted(entry_points(group="galerne.agents"), key=lambda entry: entry.name):
        agent: Agent = entry.load()()
        if agent.lane != lane:
            continue
        for kind in agent.kinds:
            if kind in agents:
                raise InvalidSettingsError(
                    f"two installed agents want {kind!r} tasks: {entry.name}"
                )
            agents[kind] = agent
    if not agents:
        raise InvalidSettingsError(f"no installed agent serves the lane {lane!r}")
    return agents
