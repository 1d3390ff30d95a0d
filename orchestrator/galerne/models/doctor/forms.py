"""What else a request may say: a schema for the answer, a field that nobody knows."""

from galerne.messages.chat import ChatReply
from galerne.models.doctor.asking import ANSWER, COLOUR, HELLO, WORD, chat
from galerne.models.doctor.finding import doubtful, well, wrong
from galerne.models.doctor.patient import Patient
from galerne.models.doctor.reading import (
    Refused,
    advice,
    excerpt,
    not_looked_at,
    read,
    schema_fault,
)
from galerne.models.doctor.tools import Probe

_UNKNOWN = "galerne_probe"
_MISFIT = frozenset({400, 422})


def schema(patient: Patient) -> Probe:
    """Small talk, whose answer must have a form that nobody would give it by chance."""
    name = "JSON schema"
    wanted = {"name": "answer", "strict": True, "schema": COLOUR}
    more = {"response_format": {"type": "json_schema", "json_schema": wanted}}
    answer = yield chat(patient, (HELLO,), ANSWER, more=more)
    match read(answer, patient):
        case Refused(status=status, words=words) if status in _MISFIT:
            seen = f"refused, so Galerne asks by prompt and repairs ({words})"
            return (doubtful(name, seen, advice("schema", patient)),)
        case Refused() as refused:
            return (not_looked_at(name, refused, advice("schema", patient)),)
        case ChatReply() as reply:
            text = reply.message.content
            fault = schema_fault(COLOUR, text)
            if not fault:
                return (well(name, "`response_format` is enforced"),)
            seen = (
                f"ignored without a word: {excerpt(text, 40) or 'an empty answer'} ({fault[:60]})"
            )
            return (wrong(name, seen, advice("schema", patient)),)


def unknown_field(patient: Patient) -> Probe:
    """A field of nobody's: refused or ignored? Galerne sends none; a typo in a proxy might."""
    name = "unknown fields"
    answer = yield chat(patient, (HELLO,), WORD, more={_UNKNOWN: True})
    match read(answer, patient):
        case Refused(status=status) if status in _MISFIT:
            seen = f"refused (status {status}); Galerne sends only what this API knows"
            if patient.dialect.name in {"mistral", "llamacpp", "vllm", "ollama"}:
                return (well(name, seen),)
            seen = f"refused (status {status}), as the hosted API of Mistral does"
            return (doubtful(name, seen, advice("unknown fields", patient)),)
        case Refused() as refused:
            return (not_looked_at(name, refused, advice("answer", patient)),)
        case ChatReply():
            return (well(name, "ignored without a word"),)
