"""Streams: whether they come in pieces, say their usage, and how fast they are."""

import msgspec

from galerne.errors import GalerneError
from galerne.messages.chat import ChatMessage, ChatReply
from galerne.models.doctor.asking import ANSWER, chat
from galerne.models.doctor.exchange import Answer, Heard
from galerne.models.doctor.finding import Finding, doubtful, well, wrong
from galerne.models.doctor.patient import Patient
from galerne.models.doctor.reading import advice, not_looked_at, refusal_of
from galerne.models.doctor.tools import Probe
from galerne.models.reply import first_choice
from galerne.models.sse import DONE, EventParser
from galerne.models.stream import ReplyStream
from galerne.models.wire import decode_completion, text_of

_COUNT = ChatMessage("user", "Count from one to thirty, in words.")
_MISFIT = frozenset({400, 422})
_FEW = 8
"""Tokens from which an answer in one piece was no stream."""
_HELD = 1.0
"""Seconds after which all text comes at once only where something holds it back."""
_STEADY = 4
"""Arrivals from which there is a pace to speak of; fewer were sent together."""


_TENTHS = 9.95
"""Tokens a second from which tenths tell nothing."""


class _Followed(msgspec.Struct, frozen=True):
    """A stream as it went: the seconds at which text came, and how many events had some."""

    reply: ChatReply
    times: tuple[float, ...]
    pieces: int


def streaming(patient: Patient) -> Probe:
    """One streamed answer, with its usage asked for where this back end wants to be asked."""
    name = "streaming"
    usage = patient.dialect.asks_for_usage
    answer = yield chat(patient, (_COUNT,), ANSWER, stream=True, usage=usage)
    if usage and _misfits(answer, patient):
        answer = yield chat(patient, (_COUNT,), ANSWER, stream=True)
    refused = refusal_of(answer, patient)
    if refused is not None:
        return (not_looked_at(name, refused, advice("stream", patient)),)
    assert isinstance(answer, Heard)
    try:
        followed = _follow(answer, patient)
    except GalerneError as error:
        return (wrong(name, str(error), advice("stream", patient)),)
    return (_shape(name, followed, patient), _speed(followed, patient))


def _misfits(answer: Answer, patient: Patient) -> bool:
    refused = refusal_of(answer, patient)
    return refused is not None and refused.status in _MISFIT


def _follow(answer: Heard, patient: Patient) -> _Followed:
    """Raises what the client would raise."""
    stream = ReplyStream(patient.endpoint)
    events = EventParser()
    times: list[float] = []
    pieces = 0
    for at, piece in answer.arrivals:
        pieces += sum(map(_has_text, events.feed(piece)))
        if stream.feed(piece):
            times.append(at)
    stream.finish()
    return _Followed(stream.reply(), tuple(times) or (answer.seconds,), pieces)


def _has_text(payload: bytes) -> bool:
    if payload == DONE:
        return False
    choice = first_choice(decode_completion(payload).choices)
    return choice is not None and choice.delta is not None and bool(text_of(choice.delta.content))


def _shape(name: str, followed: _Followed, patient: Patient) -> Finding:
    used = followed.reply.usage
    if not used.prompt_tokens or not used.completion_tokens:
        seen = f"{followed.pieces} pieces, but no usage: budgets would count nothing"
        return wrong(name, seen, advice("stream usage", patient))
    at_once = len(followed.times) == 1 and followed.times[0] > _HELD
    if used.completion_tokens >= _FEW and (followed.pieces == 1 or at_once):
        seen = f"{used.completion_tokens} tokens at once: something holds the stream back"
        return doubtful(name, seen, advice("stream", patient))
    return well(name, f"{followed.pieces} pieces, then the usage")


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _pace(rate: float) -> str:
    return f"{rate:,.0f}" if rate > _TENTHS else f"{rate:.1f}"


def _speed(followed: _Followed, patient: Patient) -> Finding:
    name = "speed"
    tokens = followed.reply.usage.completion_tokens or followed.pieces
    began = followed.times[0]
    first = f"first token after {_time(began)}"
    if tokens < _FEW or len(followed.times) < _STEADY:
        return well(name, first)
    rate = (tokens - 1) / (followed.times[-1] - began)
    seen = f"{first}, then {_pace(rate)} tokens/s"
    settings = patient.settings
    whole = began + settings.max_tokens / rate
    if whole > settings.timeout:
        slow = f"{seen}: {settings.max_tokens} would take {whole:.0f} s of {settings.timeout:g} s"
        return doubtful(name, slow, advice("slow", patient))
    return well(name, seen)
