"""How fast the stand-in answers, and how it misbehaves: on purpose, and by count, never by chance.

A fault has a counter of its own: it strikes each `every`-th of the requests that it concerns, so
a run can be repeated exactly. `malformed_call` concerns only answers that are tool calls, `cannot`
only an executor's texts.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal, get_args

import msgspec

from galerne.errors import InvalidInputError
from galerne.models.standin.prompts import Role

FaultKind = Literal["429", "500", "cut", "malformed_call", "slow", "cannot", "truncate"]
"""429: with Retry-After; 500: a server error; cut: the connection ends in the middle of the
answer; malformed_call: a tool call whose arguments are broken JSON or which leaks as text, in
turns; slow: ten times the latency, at least a second; cannot: a model too weak for its task, which
says so; truncate: only the end of a long prompt is read, and nothing said about it
(`truncating.py`)."""

KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
ROLES: tuple[Role, ...] = get_args(Role)
SLOW_FACTOR = 10.0
SLOW_LEAST = 1.0
"""Seconds of latency that a slow request has at least, also where there is no latency at all."""

_WORD = re.compile(r"\w+")


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to misbehave, on each `every`-th request that it concerns.

    Those of `role`, for `model`, about a task whose instruction has the word `task` in it; None:
    of any.
    """

    kind: FaultKind
    every: int = 1
    role: Role | None = None
    model: str | None = None
    task: str | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InvalidInputError(f"fault {self.kind}: every must be 1 or more, not {self.every}")


class Struck(msgspec.Struct, frozen=True):
    """What faults look at in a request and in its answer."""

    role: Role
    model: str = ""
    task: str = ""
    calls_tools: bool = False


def concerns(fault: Fault, struck: Struck) -> bool:
    """Whether a request counts for a fault."""
    match fault.kind:
        case "malformed_call" if not struck.calls_tools:
            return False
        case "cannot" if struck.calls_tools or struck.role != "executor":
            return False
        case _:
            return (
                fault.role in {None, struck.role}
                and fault.model in {None, struck.model}
                and (fault.task is None or fault.task.lower() in _WORD.findall(struck.task.lower()))
            )


class StandInSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The stand-in's behaviour; the defaults answer at once and without fault."""

    pace: float = 0.0
    """Tokens a second, of 4 characters each; 0: no pause, as tests want it."""
    latency: float = 0.0
    """Seconds before the first byte of an answer."""
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        if not (0 <= self.pace < float("inf") and 0 <= self.latency < float("inf")):
            raise InvalidInputError("the stand-in's pace and latency must be numbers from 0 on")


class FaultCounters:
    """Which faults strike now. One for each server; it holds the counts and nothing else."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._faults = tuple(faults)
        self._seen = [0] * len(self._faults)

    def strike(self, request: Struck) -> dict[FaultKind, int]:
        """Count one request; the kinds that strike it, with how often each has struck so far."""
        struck: dict[FaultKind, int] = {}
        for index, fault in enumerate(self._faults):
            if not concerns(fault, request):
                continue
            self._seen[index] += 1
            if self._seen[index] % fault.every == 0:
                struck[fault.kind] = self._seen[index] // fault.every
        return struck


def parse_faults(text: str) -> tuple[Fault, ...]:
    """`429:every=5,cut:every=7:role=executor` as faults; empty for an empty text.

    Raises InvalidInputError, one line that names the part it cannot use.
    """
    return tuple(_fault(part.strip()) for part in text.split(",") if part.strip())


def _fault(text: str) -> Fault:
    kind, *options = text.split(":")
    if kind not in KINDS:
        raise InvalidInputError(f"unknown fault {kind[:40]!r}; there are {', '.join(KINDS)}")
    fields: dict[str, Any] = {"kind": kind}
    for option in options:
        name, _, value = option.partition("=")
        match name:
            case "every" if value.isascii() and value.isdecimal() and len(value) < 10:  # noqa: PLR2004
                fields["every"] = int(value)
            case "role" if value in ROLES:
                fields["role"] = value
            case "model" | "task" if value:
                fields[name] = value
            case _:
                raise InvalidInputError(
                    f"fault {kind}: {option[:60]!r} is not usable; "
                    f"write every=N, role={'|'.join(ROLES)}, model=NAME or task=WORD"
                )
    return Fault(**fields)
