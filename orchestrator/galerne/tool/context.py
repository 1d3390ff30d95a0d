"""What a tool may know about the call that it answers."""

from collections.abc import Callable

import msgspec


class ToolContext(msgspec.Struct, frozen=True, kw_only=True):
    """Given to a tool whose function has a parameter of this type; models never see it.

    `key` names the call for ever: an `idempotent` tool hands it on, so that a repeated call has
    its effect once. `deadline` and what `clock()` gives are in Unix seconds.
    """

    key: str
    deadline: float
    tenant: str
    clock: Callable[[], float]
