"""What an answer says: a reply, or a refusal with its words. One place for every probe."""

import json
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import msgspec

from galerne.errors import DeadlineError, GalerneError, RateLimitedError
from galerne.messages.chat import ChatReply
from galerne.models.doctor.exchange import Answer, Heard, Unheard
from galerne.models.doctor.finding import Finding, doubtful, wrong
from galerne.models.doctor.mending import mend
from galerne.models.doctor.patient import Patient
from galerne.models.mapping import said
from galerne.models.reply import plain_reply
from galerne.models.sse import DONE, EventParser
from galerne.models.wire import UNDECODABLE, Usage, decode_completion

_SUCCESS = range(200, 300)
_WORDS = 160


class Refused(msgspec.Struct, frozen=True):
    """No reply. `words` say so in a sentence without a verb in front: `status 400: …`."""

    words: str
    error: GalerneError
    status: int | None = None


def read(answer: Answer, patient: Patient) -> ChatReply | Refused:
    """The reply in an answer that was not streamed, else why there is none."""
    refused = refusal_of(answer, patient)
    if refused is not None:
        return refused
    assert isinstance(answer, Heard)
    try:
        return plain_reply(answer.body, patient.endpoint)
    except GalerneError as error:
        return Refused(str(error), error)


def refusal_of(answer: Answer, patient: Patient) -> Refused | None:
    """Why an answer is none; None where its status is one of success."""
    match answer:
        case Unheard(error=error):
            return Refused(str(error), error)
        case Heard(status=status) if status in _SUCCESS:
            return None
        case Heard(status=status, headers=headers):
            words = patient.endpoint.clean(said(answer.body)) or "without a word"
            error = patient.dialect.refusal(patient.endpoint, status, headers, answer.body, 0.0)
            return Refused(f"status {status}: {excerpt(words)}", error, status)


def not_looked_at(probe: str, refused: Refused, advice: str) -> Finding:
    """What a refusal means to a probe that wanted an answer; a passing one is no fault."""
    match refused.error:
        case RateLimitedError():
            return doubtful(probe, refused.words, "run it again when the server is less busy")
        case DeadlineError():
            return wrong(probe, refused.words, "look at that server's load, or raise `timeout`")
        case _:
            return wrong(probe, refused.words, advice)


def schema_fault(schema: dict[str, Any], text: str) -> str:
    """Why `text` is no JSON of that form; empty where it is."""
    try:
        value: Any = json.loads(text)
    except ValueError:
        return "it is no JSON"
    # Late: half of what `galerne --help` may take.
    library: Any = import_module("jsonschema_rs")
    faults = (error.message for error in library.validator_for(schema).iter_errors(value))
    return " ".join(str(next(faults, "")).split())


def tokens_of(answer: Answer) -> int:
    """What an answer says that it used, prompt and answer together; 0 where it says nothing."""
    if isinstance(answer, Unheard):
        return 0
    used = [usage for usage in _usages(answer) if usage is not None]
    return used[-1].read + used[-1].written if used else 0


def excerpt(text: str, limit: int = _WORDS) -> str:
    """The beginning of a text, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def advice(fault: str, patient: Patient) -> str:
    """What mends `fault` on this back end."""
    return mend(fault, patient.dialect.name, patient.endpoint.model)


def _usages(answer: Heard) -> Iterator[Usage | None]:
    events = EventParser()
    payloads = [*events.feed(answer.body), *events.finish()] or [answer.body]
    for payload in payloads:
        if payload != DONE:
            try:
                yield decode_completion(payload).usage
            except UNDECODABLE:
                continue
