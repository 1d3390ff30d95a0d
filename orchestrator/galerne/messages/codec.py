"""Bytes to messages and back, with decoders made once (three times faster than one a call)."""

from typing import Any, Generic, TypeVar, cast

import msgspec

from galerne.errors import InvalidMessageError
from galerne.messages.facts import AnyFact, Ready
from galerne.messages.live import CoordinatorPresent, Live, Quarantined
from galerne.messages.pacing import Pace
from galerne.messages.planning import AskPlan, PlanReply
from galerne.messages.requests import Command, Submit
from galerne.messages.sessions import Said
from galerne.messages.subjects import TaskAddress, fact_name
from galerne.messages.tools import CallTool, ToolReply, ToolsHeard

T = TypeVar("T")

encode = msgspec.json.Encoder().encode


class Decoder(Generic[T]):
    """Reads one kind of message. Raises InvalidMessageError with the reason in one line."""

    def __init__(self, kind: Any, what: str) -> None:
        self._decode = msgspec.json.Decoder(kind).decode
        self._what = what

    def __call__(self, data: bytes) -> T:
        try:
            return cast("T", self._decode(data))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise InvalidMessageError(f"this is not {self._what}: {reason}") from error


decode_submit: Decoder[Submit] = Decoder(Submit, "a submit message")
decode_command: Decoder[Command] = Decoder(Command, "a command")
decode_call_tool: Decoder[CallTool] = Decoder(CallTool, "a tool call")
decode_tool_reply: Decoder[ToolReply] = Decoder(ToolReply, "a tool reply")
decode_tools_heard: Decoder[ToolsHeard] = Decoder(ToolsHeard, "a tool worker's presence")
decode_coordinator_present: Decoder[CoordinatorPresent] = Decoder(
    CoordinatorPresent, "a coordinator's presence"
)
decode_live: Decoder[Live] = Decoder(Live, "a live message")
decode_ask_plan: Decoder[AskPlan] = Decoder(AskPlan, "a request for a plan")
decode_plan_reply: Decoder[PlanReply] = Decoder(PlanReply, "an answer to a request for a plan")
decode_said: Decoder[Said] = Decoder(Said, "a turn of a session")
decode_pace: Decoder[Pace] = Decoder(Pace, "a worker's pace")
decode_quarantined: Decoder[Quarantined] = Decoder(Quarantined, "a quarantine record")
_decode_any_fact: Decoder[AnyFact] = Decoder(AnyFact, "a fact")


def decode_fact(name: str, data: bytes) -> AnyFact:
    """A fact, which must say the same as the name in its subject. Raises InvalidMessageError."""
    fact = _decode_any_fact(data)
    if fact_name(fact) != name:
        raise InvalidMessageError(f"the subject says {name[:100]!r}, the fact {fact_name(fact)!r}")
    return fact


def decode_ready(place: TaskAddress, data: bytes) -> Ready:
    """A task of a lane, which must say the same as its subject. Raises InvalidMessageError."""
    fact = _decode_any_fact(data)
    if not isinstance(fact, Ready):
        raise InvalidMessageError(f"a {fact.__struct_config__.tag!r} fact is no task")
    if (fact.lane, fact.priority, fact.task.id) != (place.lane, place.priority, place.task):
        raise InvalidMessageError(
            f"the subject says {place.lane}.{place.priority}.{place.task},"
            f" the task {fact.lane}.{fact.priority}.{fact.task.id[:100]!r}"
        )
    return fact
