"""What steps have cost, and what all of a job had cost on one model alone."""

from galerne.core.budget import MILLION
from galerne.messages.facts import ModelStep, Step
from galerne.messages.plan import ModelUsage, Usage, WouldHave


def step_usage(step: Step) -> Usage:
    """What one journaled step has cost."""
    if not isinstance(step, ModelStep):
        return Usage(tool_calls=1)
    spent = ModelUsage(
        calls=1,
        prompt_tokens=step.usage.prompt_tokens,
        completion_tokens=step.usage.completion_tokens,
        usd=step.usd,
        input_price=step.input_price,
        output_price=step.output_price,
    )
    return Usage(models={step.model: spent})


def would_have(planning: Usage, total: Usage) -> WouldHave | None:
    """What the tokens of `total` had cost on the model that did the `planning`.

    None where no model planned, or where it alone has done everything.
    """
    if not planning.models:
        return None
    name = max(planning.models, key=lambda model: (planning.models[model].calls, model))
    if set(total.models) <= {name}:
        return None
    planner = planning.models[name]
    if not (planner.input_price or planner.output_price):
        return WouldHave(name)
    prompt = sum(model.prompt_tokens for model in total.models.values())
    answers = sum(model.completion_tokens for model in total.models.values())
    cost = prompt * (planner.input_price or 0.0) + answers * (planner.output_price or 0.0)
    return WouldHave(name, cost / MILLION)
