"""Whether a tool call may be made, whose leave it wants, and what a person's word makes of it."""

from collections.abc import Iterable

from galerne.core.asks import EVERY_EFFECT
from galerne.messages.codec import encode
from galerne.messages.facts import Decided, Ready
from galerne.messages.ids import is_id
from galerne.messages.tools import ToolOutcome, ToolRefused, ToolResult, ToolSpec

MOST_SCHEMA = 1_500
"""Characters of a schema in a refusal: models read all of it."""


def not_callable(
    ready: Ready, tool: str, spec: ToolSpec | None, served: Iterable[str]
) -> ToolRefused | None:
    """Why a call cannot even be sent. A tool that the plan names may come back: it is sent."""
    task, allowed = ready.task, ready.job_tools
    if allowed is not None and tool not in allowed:
        return ToolRefused(code="not_allowed", message=f"this job may not call {tool[:64]!r}")
    planned = {task.tool, *(task.tools or ()), *(allowed or ())}
    if is_id(tool) and (spec is not None or tool in planned):
        return None
    return absent(tool, served)


def absent(tool: str, served: Iterable[str]) -> ToolRefused:
    """The refusal of a call whose tool nobody has."""
    there = ", ".join(served) or "none"
    return ToolRefused(
        code="not_found", message=f"there is no tool {tool[:64]!r}; there are: {there}"
    )


def changed(tool: ToolSpec) -> ToolRefused:
    """The refusal of a call that was made for a version which nobody serves any more."""
    schema = encode(tool.parameters).decode()[:MOST_SCHEMA]
    return ToolRefused(
        code="changed",
        message=f"{tool.name} has changed meanwhile, and was not called: it is version"
        f" {tool.version[:64]} now, with the parameters {schema}; call it again by these",
    )


def wants_leave(ready: Ready, tool: str, spec: ToolSpec | None) -> bool:
    """Whether a person is asked before every call of this tool, by the job's or the tool's word."""
    listed = ready.job_approve
    has_effect = spec is None or spec.effect != "pure"
    by_job = tool in listed or (EVERY_EFFECT in listed and has_effect)
    return by_job or (spec is not None and spec.approve == "always")


def denial(tool: str, decided: Decided) -> ToolRefused | None:
    """What the model reads of a person's word on a call; None where it was a yes."""
    if decided.verdict == "approved":
        return None
    if decided.verdict == "expired":
        return ToolRefused(code="denied", message=f"nobody gave leave to call {tool} in time")
    reason = f": {decided.why}" if decided.why else ""
    return ToolRefused(code="denied", message=f"a person refused this call of {tool}{reason}")


def as_settled(tool: str, decided: Decided) -> ToolOutcome:
    """What a person says has happened, as the call's outcome."""
    if decided.verdict == "happened":
        if decided.value is None:
            return ToolResult(value=None, content=f"{tool} was done; its result is not known")
        value = decided.value
        content = value if isinstance(value, str) else encode(value).decode()
        return ToolResult(value=value, content=content)
    return ToolRefused(code="denied", message=f"nobody knows whether {tool} was done")
