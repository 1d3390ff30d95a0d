"""Tool calls: whether they come as calls, must come where they must, and are the one that must."""

from collections.abc import Generator

from galerne.messages.chat import ChatReply, OneTool, ToolCall, ToolSchema
from galerne.models.conversation import CALL_ID
from galerne.models.doctor.asking import ANSWER, HELLO, TIDE, WEATHER, WHAT_WEATHER, chat
from galerne.models.doctor.exchange import Answer, Ask
from galerne.models.doctor.finding import Finding, doubtful, well, wrong
from galerne.models.doctor.patient import Patient
from galerne.models.doctor.reading import (
    Refused,
    advice,
    excerpt,
    not_looked_at,
    read,
    schema_fault,
)
from galerne.models.repair import parse_calls

Probe = Generator[Ask, Answer, tuple[Finding, ...]]
"""Yields what to ask, is sent the answers, and returns what they show."""

_TOOLS = (WEATHER, TIDE)
_NAMES = frozenset(tool.name for tool in _TOOLS)


def native(patient: Patient) -> Probe:
    """A question that a tool answers: is there a call, or the text of one?"""
    name = "tool calls"
    answer = yield chat(patient, (WHAT_WEATHER,), ANSWER, tools=_TOOLS)
    match read(answer, patient):
        case Refused() as refused:
            return (not_looked_at(name, refused, advice("tools refused", patient)),)
        case ChatReply() as reply:
            return (_nativeness(name, patient, reply),)


def required(patient: Patient) -> Probe:
    """Small talk, where a call must come all the same, said in the word that this API knows."""
    name = "required"
    word = "any" if patient.dialect.name == "mistral" else "required"
    more = {"tool_choice": word}
    answer = yield chat(patient, (HELLO,), ANSWER, tools=_TOOLS, more=more)
    match read(answer, patient):
        case Refused() as refused:
            return (not_looked_at(name, refused, advice("required", patient)),)
        case ChatReply() as reply:
            return (_enforcement(name, patient, reply, _TOOLS, word),)


def one(patient: Patient) -> Probe:
    """A certain tool, against the question, asked for as Galerne does on this back end."""
    name = "one tool"
    choice = OneTool(TIDE.name)
    answer = yield chat(patient, (WHAT_WEATHER,), ANSWER, tools=_TOOLS, choice=choice)
    match read(answer, patient):
        case Refused() as refused:
            return (not_looked_at(name, refused, advice("one tool", patient)),)
        case ChatReply() as reply:
            return (_enforcement(name, patient, reply, (TIDE,), TIDE.name),)


def _nativeness(name: str, patient: Patient, reply: ChatReply) -> Finding:
    calls, text = reply.message.tool_calls, reply.message.content
    if calls:
        fault = _fault(calls[0], _TOOLS)
        if fault:
            return doubtful(name, f"native, but {fault}", advice("tools unused", patient))
        rewritten = "" if CALL_ID.fullmatch(calls[0].id) else "; its ids are rewritten for Mistral"
        return well(name, f"native{rewritten}")
    if parse_calls(text, _NAMES).tried:
        seen = f"the call leaks as text: {excerpt(text, 60)}"
        return wrong(name, seen, advice("tools leaked", patient))
    seen = f"none, though a tool fits: {excerpt(text, 60) or 'an empty answer'}"
    return doubtful(name, seen, advice("tools unused", patient))


def _enforcement(
    name: str, patient: Patient, reply: ChatReply, tools: tuple[ToolSchema, ...], asked: str
) -> Finding:
    calls = reply.message.tool_calls
    mending = advice("required" if name == "required" else "one tool", patient)
    if not calls:
        text = excerpt(reply.message.content, 40) or "an empty answer"
        return _unenforced(name, patient, f"`{asked}` is not enforced: {text}", mending)
    fault = _fault(calls[0], tools)
    if fault:
        return _unenforced(name, patient, f"`{asked}` brings a call, but {fault}", mending)
    return well(name, f"`{asked}` brings a call that keeps its schema")


def _unenforced(name: str, patient: Patient, seen: str, mending: str) -> Finding:
    """Where the back end is known not to enforce it, Galerne reckons with that."""
    if patient.dialect.name in {"ollama", "llamacpp"}:
        return doubtful(name, seen, mending)
    return wrong(name, seen, mending)


def _fault(call: ToolCall, tools: tuple[ToolSchema, ...]) -> str:
    schemas = {tool.name: tool.parameters for tool in tools}
    if call.name not in schemas:
        return f"it is of {excerpt(call.name, 40)}"
    fault = schema_fault(schemas[call.name], call.arguments)
    return f"its arguments break the schema ({excerpt(fault, 60)})" if fault else ""
