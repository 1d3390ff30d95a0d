"""A finished step of a task, as it is journaled and as the agent gets it, now and on a replay."""

from galerne.core.budget import Prices
from galerne.errors import PermanentError
from galerne.messages.chat import ChatReply
from galerne.messages.facts import ModelStep, Step, ToolStep
from galerne.messages.ids import TaskId
from galerne.messages.tools import ToolOutcome, ToolRefused, ToolResult


def model_step(
    task: TaskId, n: int, reply: ChatReply, prices: Prices, latency_s: float
) -> ModelStep:
    """What a model has answered as a task's step `n`, and what it cost."""
    usage = reply.usage
    return ModelStep(
        task=task,
        n=n,
        message=reply.message,
        model=reply.model,
        finish=reply.finish,
        usage=usage,
        response_id=reply.id,
        latency_s=round(latency_s, 4),
        usd=prices.cost(usage.prompt_tokens, usage.completion_tokens),
        input_price=prices.input,
        output_price=prices.output,
        complaint=reply.complaint,
        notices=reply.notices,
    )


def tool_step(
    task: TaskId, n: int, call_id: str, tool: str, outcome: ToolOutcome, latency_s: float
) -> ToolStep:
    """What came of a tool call that is a task's step `n`."""
    return ToolStep(
        task=task,
        n=n,
        call_id=call_id,
        tool=tool,
        content=outcome.message if isinstance(outcome, ToolRefused) else outcome.content,
        value=outcome.code if isinstance(outcome, ToolRefused) else outcome.value,
        is_error=isinstance(outcome, ToolRefused),
        latency_s=round(latency_s, 4),
    )


def reply_of(n: int, step: Step) -> ChatReply:
    """The model's answer. Raises PermanentError where the agent has asked for something else."""
    if not isinstance(step, ModelStep):
        raise PermanentError(diverged(n))
    return ChatReply(
        message=step.message,
        model=step.model,
        finish=step.finish,
        usage=step.usage,
        id=step.response_id,
        complaint=step.complaint,
        notices=step.notices,
    )


def outcome_of(n: int, tool: str, step: Step) -> ToolOutcome:
    """The call's outcome. Raises PermanentError where the agent has asked for something else."""
    if not isinstance(step, ToolStep) or step.tool != tool:
        raise PermanentError(diverged(n))
    if step.is_error:
        return ToolRefused(code=step.value or "tool", message=step.content)
    return ToolResult(value=step.value, content=step.content)


def diverged(n: int) -> str:
    """The failure of an agent whose replay asks for something else than the journal holds."""
    return (
        f"step {n} is another one than the journal holds: the agent's code has changed while the"
        " task was running"
    )
