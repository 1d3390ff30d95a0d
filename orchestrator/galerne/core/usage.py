"""What steps have cost."""

from galerne.messages.facts import ModelStep, Step
from galerne.messages.plan import ModelUsage, Usage


def step_usage(step: Step) -> Usage:
    """What one journaled step has cost."""
    if not isinstance(step, ModelStep):
        return Usage(tool_calls=1)
    spent = ModelUsage(
        calls=1,
        prompt_tokens=step.usage.prompt_tokens,
        completion_tokens=step.usage.completion_tokens,
        usd=step.usd,
    )
    return Usage(models={step.model: spent})
