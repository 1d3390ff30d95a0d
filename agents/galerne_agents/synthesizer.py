"""The agent that writes a job's answer from the results of its tasks."""

from typing import Any, ClassVar

import msgspec

from galerne.agent import TaskContext
from galerne.errors import PermanentError
from galerne.messages.chat import ChatMessage
from galerne.messages.facts import Lane
from galerne.messages.plan import TaskKind
from galerne.planner import answer_request
from galerne_agents.checks import NOT_USED


class SynthesizerAgent:
    """Writes the closing text. `ready.inputs`: task id → `{"instruction": text, "value": JSON}`."""

    lane: ClassVar[Lane] = "planner"
    kinds: ClassVar[frozenset[TaskKind]] = frozenset({"answer"})

    async def run(self, context: TaskContext) -> Any:
        """The text. Raises PermanentError when the model says nothing, or nothing usable twice."""
        request = answer_request(context.ready.goal, context.ready.inputs)
        # Streamed, although nobody reads here: the runtime shows the text live as it arrives.
        reply = await context.ask(request, _ignore)
        if reply.complaint:
            why = ChatMessage("user", NOT_USED.format(reply.complaint))
            again = msgspec.structs.replace(request, messages=(*request.messages, why))
            reply = await context.ask(again, _ignore)
        if reply.complaint:
            raise PermanentError(
                f"the model's final answer could not be used ({reply.complaint}); run the job again"
            )
        answer = reply.message.content.strip()
        if not answer:
            raise PermanentError("the model's final answer was empty; run the job again")
        return answer


def _ignore(_text: str) -> None:
    """Nothing to do with the pieces."""
