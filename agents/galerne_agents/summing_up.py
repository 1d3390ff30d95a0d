"""The older turns of a long conversation in a few sentences, for the jobs after this one."""

from galerne.agent import TaskContext
from galerne.core.summary import Summary, summed_up, to_sum_up
from galerne.errors import (
    BadAnswerError,
    DeadlineError,
    ModelError,
    RateLimitedError,
    UnavailableError,
)
from galerne.planner import summary_request

_NOT_NOW = (ModelError, BadAnswerError, DeadlineError, RateLimitedError, UnavailableError)
"""What a plan that is written does not fail for: the next job of the conversation tries again."""


async def sum_up(context: TaskContext) -> Summary | None:
    """A summary, where it is time for one and there is a model for it.

    A job with a budget is left alone: what its user allows is for its own goal.
    """
    older = to_sum_up(context.ready.history)
    if not older or context.ready.budget is not None:
        return None
    try:
        reply = await context.ask(summary_request(older, prompts=context.prompts))
    except _NOT_NOW:
        return None
    return summed_up(reply.message.content, older)
