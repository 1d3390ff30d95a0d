"""Tool calls on the bus: a request to `tool.<name>`, and replies to the caller's inbox."""

from typing import Any, Literal

import msgspec

from galerne.messages.chat import ToolSchema

Effect = Literal["pure", "idempotent", "once"]
"""What repeating a call would do: nothing; nothing given the same key; something twice."""
Approve = Literal["never", "sometimes", "always"]
"""Whether a call waits for a person's word; `sometimes` is decided by its worker, by the call."""


class ToolSpec(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A tool as its worker announces it. `timeout` is in seconds.

    `returns` is the JSON Schema of its results, where its author has typed them.
    `route` is the token of the subject on which just this version is called (empty: the tool has
    one subject for whatever its workers serve).
    """

    name: str
    description: str
    parameters: dict[str, Any]
    effect: Effect = "pure"
    timeout: float = 30.0
    version: str = "1"
    approve: Approve = "never"
    returns: dict[str, Any] | None = None
    route: str = ""

    def schema(self) -> ToolSchema:
        return ToolSchema(self.name, self.description, self.parameters)


class ToolMessage(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type"):
    """The base of what travels between an executor and a tool worker."""


class CallTool(ToolMessage, frozen=True, tag="call"):
    """`key` names the call for ever (`<job>.<task>.<step>`); the same key is the same effect.

    `deadline` is in Unix seconds. `approved` is the hash of the arguments that a person has
    approved. `round` counts how often a person has said that the effect, which was in doubt, did
    not happen: the call is then begun anew.
    """

    tool: str
    key: str
    tenant: str
    arguments: dict[str, Any]
    deadline: float
    approved: str | None = None
    round: int = 0


class Busy(ToolMessage, frozen=True, tag="busy"):
    """This worker is at its limit; send the same call again, soon."""


class Working(ToolMessage, frozen=True, tag="working"):
    """Accepted and under way; repeated as a heartbeat. Three missed ones mean a dead worker.

    `note` is one line on how far the tool is, `fraction` the same from 0 to 1, where it says so.
    """

    by: str
    note: str = ""
    fraction: float | None = None


class Pending(ToolMessage, frozen=True, tag="pending"):
    """Another worker holds this key until `until` (Unix seconds)."""

    until: float


class NeedsApproval(ToolMessage, frozen=True, tag="needs_approval"):
    """Not begun: send the call again with `approved`, once a person has agreed. `why` is shown."""

    why: str = ""


class ToolResult(ToolMessage, frozen=True, tag="result"):
    """The typed value, and `content`: the text of it that a model reads."""

    value: Any
    content: str


class ToolRefused(ToolMessage, frozen=True, tag="error"):
    """The call failed; `code` as in `galerne.errors`, `message` is for the model to read."""

    code: str
    message: str


ToolReply = Busy | Working | Pending | NeedsApproval | ToolResult | ToolRefused
ToolOutcome = ToolResult | ToolRefused


class ToolsPresent(ToolMessage, frozen=True, tag="tools_present"):
    """What a tool worker serves, on `presence.tools`; `leaving` is its last one.

    `started` is in Unix seconds: of two workers that serve one version of a tool differently, the
    younger is believed.
    """

    worker: str
    tools: tuple[ToolSpec, ...]
    capacity: int
    active: int
    leaving: bool = False
    started: float = 0.0


class ToolsAlive(ToolMessage, frozen=True, tag="tools_alive"):
    """A tool worker's heartbeat between two `ToolsPresent`, which are long."""

    worker: str
    capacity: int
    active: int


ToolsHeard = ToolsPresent | ToolsAlive
