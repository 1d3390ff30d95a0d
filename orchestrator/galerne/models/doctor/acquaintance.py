"""The first questions: is anybody there, does the key open, is the model there, does it answer.

    list of models → its kind (dialect), the model → the list without the key → one plain answer

What is wrong here ends the examination: every later question would fail for the same reason.
"""

import difflib
from collections.abc import Generator, Sequence
from http import HTTPStatus

import msgspec

from galerne.errors import InvalidSettingsError
from galerne.messages.chat import ChatReply
from galerne.models.dialects import (
    Spoken,
    dialect_named,
    told_by_address,
    told_by_owners,
    told_by_server,
)
from galerne.models.doctor.asking import HELLO, WORD, chat
from galerne.models.doctor.exchange import Answer, Ask, Heard, Unheard
from galerne.models.doctor.finding import Finding, doubtful, well, wrong
from galerne.models.doctor.mending import mend
from galerne.models.doctor.patient import Patient, Subject
from galerne.models.doctor.reading import Refused, advice, excerpt, not_looked_at, read
from galerne.models.endpoint import Endpoint
from galerne.models.wire import UNDECODABLE

_LOCKED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_SUCCESS = range(200, 300)
_LISTED = 6


class _Listed(msgspec.Struct):
    id: str
    owned_by: str | None = None
    max_model_len: int | None = None


class _List(msgspec.Struct):
    data: list[_Listed] | None = None


class Met(msgspec.Struct, frozen=True):
    """What the acquaintance found; `patient` is examined further where `goes_on`."""

    findings: tuple[Finding, ...]
    patient: Patient
    goes_on: bool


Meeting = Generator[Ask, Answer, Met]


def meet(subject: Subject) -> Meeting:
    """Raises InvalidSettingsError where the endpoint or the key cannot be used at all."""
    first = yield Ask()
    listed = _models(first)
    spoken = _spoken(subject, first, listed)
    model = _model(subject, listed)
    settings = msgspec.structs.replace(subject.settings, model=model)
    longest = next((one.max_model_len for one in listed if one.id == model), None)
    patient = Patient(
        subject=msgspec.structs.replace(subject, settings=settings),
        endpoint=Endpoint(settings),
        dialect=dialect_named(spoken),
        longest=longest,
    )
    if isinstance(first, Unheard):
        failure = wrong("reachable", str(first.error), advice("reach", patient))
        return Met((failure,), patient, goes_on=False)
    if first.status in _LOCKED:
        there = well("reachable", f"answers in {_milliseconds(first)}")
        return Met((there, _locked(patient, first.status)), patient, goes_on=False)
    anybody = (yield Ask(keyless=True)) if patient.endpoint.headers() else first
    answer = yield chat(patient, (HELLO,), WORD)
    findings = (_reachable(patient, first), *_answering(patient, listed, anybody, answer))
    goes_on = isinstance(read(answer, patient), ChatReply)
    return Met(findings, patient, goes_on=goes_on)


def _models(answer: Answer) -> list[_Listed]:
    if isinstance(answer, Unheard) or answer.status not in _SUCCESS:
        return []
    try:
        return msgspec.json.decode(answer.body, type=_List).data or []
    except UNDECODABLE:
        return []


def _spoken(subject: Subject, answer: Answer, listed: Sequence[_Listed]) -> Spoken:
    if subject.settings.backend != "auto":
        return subject.settings.backend
    told = told_by_address(subject.settings.endpoint or "")
    if told is None and isinstance(answer, Heard):
        told = told_by_server(answer.headers) or told_by_owners(one.owned_by for one in listed)
    return told or "openai"


def _model(subject: Subject, listed: Sequence[_Listed]) -> str:
    """The model to examine: the settings' one, unless nobody chose it and it is not there."""
    wanted = subject.settings.model
    names = [one.id for one in listed]
    if subject.named or not names or _has(names, wanted):
        return wanted
    known = (name for name in names if subject.catalogue.find(name) is not None)
    return next(known, names[0])


def _has(names: Sequence[str], model: str) -> bool:
    return any(model in {name, name.removesuffix(":latest")} for name in names)


def _milliseconds(answer: Heard) -> str:
    return f"{round(1000 * answer.seconds)} ms"


def _reachable(patient: Patient, answer: Heard) -> Finding:
    if answer.status in _SUCCESS:
        return well("reachable", f"answers in {_milliseconds(answer)}")
    seen = f"answers, but its list of models with status {answer.status}"
    return doubtful("reachable", seen, advice("list", patient))


def _locked(patient: Patient, status: int) -> Finding:
    given = "the key is refused" if patient.endpoint.headers() else "it asks for a key"
    return wrong("key", f"{given} (status {status})", advice("key", patient))


def _answering(
    patient: Patient, names: Sequence[_Listed], anybody: Answer, answer: Answer
) -> tuple[Finding, ...]:
    listed = [one.id for one in names]
    match read(answer, patient):
        case Refused(status=int(status)) if status in _LOCKED:
            return (_locked(patient, status),)
        case Refused() as refused:
            missing = _missing(patient, listed)
            if missing is not None:
                return (_key(patient, anybody), missing)
            failed = not_looked_at("answers", refused, advice("answer", patient))
            return (_key(patient, anybody), _present(patient, listed), failed)
        case ChatReply() as reply:
            return (_key(patient, anybody), _present(patient, listed), _plain(patient, reply))


def _key(patient: Patient, anybody: Answer) -> Finding:
    if not patient.endpoint.headers():
        return well("key", "none given, none asked for")
    if isinstance(anybody, Heard) and anybody.status in _LOCKED:
        return well("key", "accepted, and needed")
    return well("key", "accepted; the list of models needs none")


def _missing(patient: Patient, listed: Sequence[str]) -> Finding | None:
    """Why the model is not there; None where it seems to be, so that something else is wrong."""
    model = patient.endpoint.model
    subject = patient.subject
    if patient.endpoint.is_hosted:
        try:
            subject.catalogue.check_name(model, "hosted", subject.today)
        except InvalidSettingsError as error:
            return wrong("model", str(error), "choose another (`galerne models`)")
    if not listed or _has(listed, model):
        return None
    there = ", ".join(listed[:_LISTED]) + (", …" if len(listed) > _LISTED else "")
    near = _alike(subject, model, listed)
    advised = [f"set `model` to {near or 'a listed name'}", _served(patient)]
    return wrong("model", f"no {model} here; there is {there}", "; or ".join(filter(None, advised)))


def _served(patient: Patient) -> str:
    """How the server itself gets the model that was asked for; empty where nobody can tell."""
    model = patient.endpoint.model
    known = patient.subject.catalogue.find(model)
    if patient.dialect.name == "ollama" and known is not None and known.ollama:
        by_ollama = patient.subject.catalogue.named(model, "ollama")
        model = model if by_ollama else known.ollama[0]
    return mend("model", patient.dialect.name, model)


def _alike(subject: Subject, model: str, listed: Sequence[str]) -> str | None:
    """The name here of the same model, by the catalogue, else one that is written much alike."""
    wanted = {known.id for known in subject.catalogue.named(model)}
    for name in listed:
        if wanted & {known.id for known in subject.catalogue.named(name)}:
            return name
    return next(iter(difflib.get_close_matches(model, listed, n=1)), None)


def _present(patient: Patient, listed: Sequence[str]) -> Finding:
    model = patient.endpoint.model
    if not listed:
        return well("model", f"{model} (it lists none)")
    if _has(listed, model):
        more = f", one of {len(listed)}" if len(listed) > 1 else ""
        return well("model", f"{model} is there{more}")
    near = _alike(patient.subject, model, listed) or listed[0]
    seen = f"no {excerpt(model)} in its list, yet it answers: as {excerpt(near)}, or as any name"
    return doubtful("model", seen, f"set `model` to {near}, so that reports name what answered")


def _plain(patient: Patient, reply: ChatReply) -> Finding:
    used = reply.usage
    if used.prompt_tokens and used.completion_tokens:
        tokens = f"{used.prompt_tokens} tokens in, {used.completion_tokens} out"
        return well("answers", f"a plain answer, and its usage ({tokens})")
    return wrong("answers", "a plain answer, without its usage", advice("usage", patient))
