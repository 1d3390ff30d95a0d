"""A call as the model wrote it, before anybody asks whether there is such a tool.

Written calls are settled one by one: the name becomes one that was offered, values without a name
get theirs where the order is known, and the call lands in one of the four lists of `Parsed`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import msgspec

from galerne.models.repair.names import offered
from galerne.models.repair.parsed import BrokenCall, FoundCall, Parsed, Syntax

Parameters = Mapping[str, Sequence[str]]
"""The names of each tool's parameters, in the order of its schema."""


class Written(msgspec.Struct, kw_only=True):
    """One call. `cut`: it ends too early; `fault`: why it cannot be made.

    `certain` says that its form is a call whatever the name; another form is one only where the
    name is a tool's, for ordinary data may look so too. `bare`: nothing but a name is there, which
    is a call only after a marker.
    """

    name: str = ""
    arguments: dict[str, Any] = {}
    positional: tuple[Any, ...] = ()
    id: str = ""
    cut: bool = False
    fault: str = ""
    certain: bool = True
    bare: bool = False


class Settled:
    """The calls of one answer as they are settled, in order."""

    def __init__(self, known: Collection[str], parameters: Parameters) -> None:
        self._known = known
        self._parameters = parameters
        self._calls: list[FoundCall] = []
        self._cut: list[str] = []
        self._unknown: list[str] = []
        self._broken: list[BrokenCall] = []
        self._syntax: Syntax | None = None

    def add(self, written: Sequence[Written], syntax: Syntax) -> None:
        if written:
            self._syntax = self._syntax or syntax
        for call in written:
            self._add(call)

    def parsed(self, content: str, *, among_prose: bool = False) -> Parsed:
        """All of it, with the `content` that a person may see."""
        return Parsed(
            "" if self._unknown else content,
            tuple(self._calls),
            tuple(self._cut),
            tuple(self._unknown),
            tuple(self._broken),
            self._syntax,
            among_prose,
        )

    def _add(self, call: Written) -> None:
        name = offered(call.name, self._known)
        if call.cut:
            self._cut.append(name or call.name)
        elif name is None and call.name:
            self._unknown.append(call.name)
        elif name is None:
            self._broken.append(BrokenCall("", call.fault or "has no name"))
        elif call.fault:
            self._broken.append(BrokenCall(name, call.fault))
        else:
            self._add_whole(name, call)

    def _add_whole(self, name: str, call: Written) -> None:
        arguments = _named(call, self._parameters.get(name))
        if arguments is None:
            reason = "has values without a name; give every argument by its name"
            self._broken.append(BrokenCall(name, reason))
        else:
            self._calls.append(FoundCall(name, arguments, call.id))


def _named(call: Written, order: Sequence[str] | None) -> dict[str, Any] | None:
    """The arguments, all by name; None where the order does not say which value is which."""
    if not call.positional:
        return call.arguments
    if order is None or len(call.positional) > len(order):
        return None
    if len(call.positional) == 1 and not call.arguments:
        only = call.positional[0]
        if isinstance(only, dict) and only:
            # `f({"a": 1})`, where `a` is a parameter of f: the object is the arguments.
            members = cast("dict[str, Any]", only)
            if members.keys() <= set(order):
                return members
    named = dict(zip(order, call.positional, strict=False))
    return None if named.keys() & call.arguments.keys() else {**named, **call.arguments}
