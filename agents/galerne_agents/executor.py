"""The agent that executes: models with tools, the smallest first, or one direct tool call.

    a dialogue with one model ─▶ an answer that passes its check: done
             ▲                └▶ two that do not, or a request that is too long for its context:
             │                   the reason is noted, and the task moves on
             └── the next larger model, told what was called before;  none left: failed

A move is decided by what the journal holds, so another worker that runs this again comes to the
same moves. Whatever else a model's server refuses for good (a key, a name, a field) is a fault of
the settings: a move would hide it, and pay for every task on a larger model.
"""

from typing import Any, ClassVar, Final

from galerne.agent import TaskContext
from galerne.core.refs import resolve
from galerne.errors import InvalidInputError, PermanentError, ToolError, TooLongError
from galerne.messages.facts import Lane, Moved
from galerne.messages.plan import TaskKind
from galerne.messages.tools import ToolRefused, ToolResult
from galerne.planner import one_line
from galerne_agents.checks import Accepted, Fault
from galerne_agents.dialogue import Called, Dialogue, settled

DIRECT_CALL: Final = "direct"
"""The call id of a tool task's only call."""
BY_THE_PLAN: Final = "the plan asks for a"
REASON: Final = 200
"""Characters of each model's reason, where several have failed."""


class ExecutorAgent:
    """Does an `agent` task or a `tool` task.

    The value of an agent task is the model's closing text, or what it says in JSON where the task
    has an `output` schema.
    """

    lane: ClassVar[Lane] = "executor"
    kinds: ClassVar[frozenset[TaskKind]] = frozenset({"agent", "tool"})

    async def run(self, context: TaskContext) -> Any:
        """Raises what the failure is: ToolError, InDoubtError, PermanentError."""
        if context.ready.task.kind == "tool":
            return await _call_directly(context)
        return await _up_the_ladder(context)


async def _call_directly(context: TaskContext) -> Any:
    task = context.ready.task
    if task.tool is None:
        raise InvalidInputError(f"tool task {task.id!r} names no tool")
    arguments = resolve(task.args or {}, context.ready.inputs)
    match settled(await context.call(DIRECT_CALL, task.tool, arguments)):
        case ToolResult(value=value):
            return value
        case ToolRefused(message=message):
            raise ToolError(message)


async def _up_the_ladder(context: TaskContext) -> Any:
    """Raises PermanentError with the reason of each model, where the last one failed too."""
    served = await context.tools()
    moves: list[Moved] = []
    called: list[Called] = []
    await _begin_where_the_plan_says(context)
    while True:
        dialogue = Dialogue(context, served, called)
        verdict = await _verdict(dialogue)
        if isinstance(verdict, Accepted):
            return verdict.result
        moved = await context.move(verdict.reason)
        if moved is not None:
            moves.append(moved)
            called = dialogue.called
        elif verdict.soft:
            return verdict.value
        else:
            raise PermanentError(_failure(moves, verdict))


async def _begin_where_the_plan_says(context: TaskContext) -> None:
    """Go up at once, for a task of a larger model class: one rung, or all of them."""
    match context.ready.task.model:
        case "medium":
            await context.start_above(f"{BY_THE_PLAN} medium model")
        case "large":
            while await context.start_above(f"{BY_THE_PLAN} large model") is not None:
                pass
        case _:
            pass


async def _verdict(dialogue: Dialogue) -> Accepted | Fault:
    try:
        return await dialogue.run()
    except TooLongError as error:
        return Fault(one_line(str(error), REASON), "")


def _failure(moves: list[Moved], last: Fault) -> str:
    """One line, each reason once."""
    if not moves:
        return f"{last.reason}; there is no larger model to ask"
    tried = [(move.from_model, move.reason) for move in moves]
    tried.append((moves[-1].to_model, last.reason))
    models: dict[str, list[str]] = {}
    for model, reason in tried:
        models.setdefault(one_line(reason, REASON), []).append(model)
    reasons = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in models.items())
    return f"no model could do it: {reasons}"
