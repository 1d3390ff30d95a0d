"""The two turns of planning: the plan, and one repair of what could not be used.

Whoever asks the model is passed in, so the same conversation serves a host service (over HTTP)
and a planner in the fleet (over its journal).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from galerne.messages.chat import ChatReply, ChatRequest
from galerne.messages.plan import Rejected, TaskSpec
from galerne.messages.tools import ToolSpec
from galerne.planner.prompt import planner_request
from galerne.planner.reader import PlanReader

Ask = Callable[[ChatRequest, Callable[[str], None]], Awaitable[ChatReply]]
"""Ask the model; the function gets the text piece by piece as it arrives."""


class PlanBrief(msgspec.Struct, frozen=True):
    """What is to be planned. `already` exists: an earlier attempt has written it."""

    goal: str
    tools: Sequence[ToolSpec]
    inputs: Mapping[str, Any] | None = None
    already: Sequence[TaskSpec] = ()


async def converse(
    ask: Ask, brief: PlanBrief, on_task: Callable[[TaskSpec], None]
) -> tuple[Rejected, ...]:
    """Plan, giving each new task to `on_task` the moment its object closes.

    If something was rejected, the reasons go back to the model once. What comes back are the
    rejections that stayed. Raises what `ask` raises.
    """
    reader = PlanReader(brief.tools, brief.already)
    first = await _turn(ask, _request(brief, brief.already), reader, on_task)
    if not first:
        return ()
    before = reader.read
    second = await _turn(ask, _request(brief, reader.tasks, first), reader, on_task)
    mended = reader.read - before
    return (*(one for one in first if one.id not in mended), *second)


def _request(
    brief: PlanBrief, already: Sequence[TaskSpec], rejected: Sequence[Rejected] = ()
) -> ChatRequest:
    return planner_request(brief.goal, brief.tools, brief.inputs, already, rejected)


async def _turn(
    ask: Ask, request: ChatRequest, reader: PlanReader, on_task: Callable[[TaskSpec], None]
) -> list[Rejected]:
    rejected: list[Rejected] = []

    def sort(judged: Sequence[TaskSpec | Rejected]) -> None:
        for one in judged:
            match one:
                case TaskSpec():
                    on_task(one)
                case Rejected():
                    rejected.append(one)

    reply = await ask(request, lambda text: sort(reader.feed(text)))
    sort(reader.finish(reply.finish))
    return rejected
