"""The one place where a model endpoint's failures become Galerne's errors.

Three kinds come in: aiohttp's exceptions (nothing answered, the connection broke), answers with
an error status, and answers that are not what they should be. Out comes a ModelError where the
same request fails again, and a transient error, with the server's own pause if it names one,
where another try may help. The status decides, with two exceptions that real back ends force:
capacity errors typed as invalid requests are transient, and template errors that arrive as 500
are permanent. What one back end alone says in its own words comes as a `Wording` from its dialect.
Bodies have many shapes; `said` finds the sentence in each.
"""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, cast

import aiohttp
import msgspec

from galerne.errors import (
    BadAnswerError,
    DeadlineError,
    GalerneError,
    ModelError,
    RateLimitedError,
    TooLongError,
    TransientError,
    UnavailableError,
)
from galerne.models.endpoint import Endpoint
from galerne.models.wire import UNDECODABLE

TRANSPORT_ERRORS = (aiohttp.ClientError, OSError)
"""What aiohttp's calls raise when the connection is the trouble (a timeout is an OSError)."""

_EXCERPT = 200
_READ = 256 * 1024
_SENTENCE = 400
_DEPTH = 6
_REDIRECTS = range(300, 400)
_ERRORS = range(400, 600)
_CODES = ("code", "status", "status_code", "raw_status_code")
_LONGEST_PAUSE = 3600.0  # seconds; who asks for more is asked again after an hour
_TRANSIENT = frozenset({408, 409, 425, 429, 529})
_CAPACITY = re.compile(
    r"capacity (is |was )?exceeded|over capacity|overloaded|rate.?limit|too many requests",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"(maximum|available|model'?s?) context|context.{0,20}(exceeded|too (long|large|small))"
    r"|exceed.{0,40}context",
    re.IGNORECASE,
)
_TEMPLATE = re.compile(r"jinja|chat.?template|roles must alternate|unexpected role", re.IGNORECASE)


class Wording(msgspec.Struct, frozen=True):
    """How one kind of back end words refusals that their status does not tell apart.

    `busy` asks for a pause, `hopeless` is no passing failure although its status says so, and
    `advice` has a sentence for whoever reads the error, where its pattern is found.
    """

    busy: re.Pattern[str] | None = None
    hopeless: re.Pattern[str] | None = None
    advice: tuple[tuple[re.Pattern[str], str], ...] = ()

    def is_busy(self, sentence: str) -> bool:
        return bool(_CAPACITY.search(sentence) or (self.busy and self.busy.search(sentence)))

    def is_hopeless(self, sentence: str) -> bool:
        found = _TEMPLATE.search(sentence) or (self.hopeless and self.hopeless.search(sentence))
        return bool(found)

    def advises(self, sentence: str, otherwise: str) -> str:
        """The first advice that fits."""
        fitting = (words for pattern, words in self.advice if pattern.search(sentence))
        return next(fitting, otherwise)


_COMMON = Wording()


def transport_error(error: Exception, endpoint: Endpoint) -> GalerneError:
    """What a failure of the connection means."""
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return ModelError(
                f"{endpoint.url} has no TLS certificate that this host trusts; correct `endpoint` "
                "or install its authority"
            )
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return UnavailableError(
                f"nothing answers at {endpoint.url}; start the model server there or correct "
                f"`endpoint` ({endpoint.clean(_reason(error))})"
            )
        case aiohttp.ClientResponseError():
            return BadAnswerError(
                f"{endpoint.url} does not speak HTTP as it should "
                f"({endpoint.clean(error.message)}); check that `endpoint` is a model server"
            )
        case aiohttp.InvalidURL():
            return ModelError(f"{endpoint.url} is not an address; correct `endpoint`")
        case _:
            return TransientError(
                f"the connection to {endpoint} broke before the whole answer was there "
                f"({endpoint.clean(_reason(error))}); try again"
            )


def public_cause(error: Exception, endpoint: Endpoint) -> BaseException | None:
    """The exception to chain, for whoever reads a traceback.

    A ClientResponseError holds our headers, and so the key. None where what is left repeats the
    key: parsers quote the bytes that they cannot read, and some servers repeat what was sent.
    """
    cause = error.__cause__ if isinstance(error, aiohttp.ClientResponseError) else error
    link, seen = cause, set[int]()
    while link is not None and id(link) not in seen:
        if isinstance(link, aiohttp.ClientResponseError) or endpoint.betrays(f"{link} {link!r}"):
            return None
        seen.add(id(link))
        link = link.__cause__ or link.__context__
    return cause


def refusal(
    endpoint: Endpoint,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    now: float,
    wording: Wording = _COMMON,
) -> GalerneError:
    """What an answer with an error status means. `now` is in Unix seconds."""
    sentence = endpoint.clean(said(body))[:_SENTENCE] or _phrase(status)
    pause = retry_after(headers.get("Retry-After"), now)
    match status:
        case 401 | 403:
            return ModelError(
                f"{endpoint} refuses the key (status {status}: {sentence}); set `api_key` of "
                "this role, GALERNE_PLANNER_API_KEY or GALERNE_EXECUTOR_API_KEY"
            )
        case 404:
            return ModelError(
                f"{endpoint.url} knows no model {endpoint.model!r}, or is not the path of an "
                f"OpenAI-style API ({sentence}); "
                + wording.advises(sentence, "correct `model` or `endpoint`")
            )
        case _ if status in _REDIRECTS:
            target = endpoint.clean(headers.get("Location", "elsewhere"))
            return ModelError(f"{endpoint.url} redirects to {target}; set `endpoint` to that")
        case _ if status == HTTPStatus.TOO_MANY_REQUESTS or wording.is_busy(sentence):
            return RateLimitedError(
                f"{endpoint} is at its limit (status {status}: {sentence}); slow down or wait",
                retry_after=pause,
            )
        case _ if _may_pass(status) and not wording.is_hopeless(sentence):
            return TransientError(
                f"{endpoint} failed (status {status}: {sentence}); try again", retry_after=pause
            )
        case _:
            kind = TooLongError if _TOO_LONG.search(sentence) else ModelError
            return kind(
                f"{endpoint} refused the request (status {status}: {sentence}); "
                + wording.advises(sentence, "correct the request or the server's settings")
            )


def stated_error(endpoint: Endpoint, body: bytes) -> GalerneError:
    """What an error inside an answer of status 200 means: its own code decides, else 500."""
    status = _stated_status(body)
    return refusal(endpoint, status, {}, body, 0.0)


def broken_off(endpoint: Endpoint, body: bytes) -> TransientError:
    """An error in the middle of an answer: the model was at work, and may be paid for it."""
    error = stated_error(endpoint, body)
    pause = error.retry_after if isinstance(error, TransientError) else None
    return TransientError(f"an answer broke off: {error}", retry_after=pause)


def bad_answer(endpoint: Endpoint, what: str, body: bytes) -> BadAnswerError:
    """An answer that cannot be used; the error shows the first 200 characters of it."""
    # Cleaned first and cut then: half of a key would not be found.
    text = endpoint.clean(body[:_READ].decode(errors="replace"))[:_EXCERPT]
    return BadAnswerError(f"{endpoint} {what}: {text!r}")


def cut_stream(endpoint: Endpoint) -> TransientError:
    """A stream that ended without saying that it was finished."""
    return TransientError(f"{endpoint} ended its stream in the middle of the answer; try again")


def too_slow(endpoint: Endpoint, seconds: float, *, silent: bool) -> DeadlineError:
    """No whole answer, or (`silent`) no further piece of one, within `seconds`."""
    if silent:
        return DeadlineError(
            f"{endpoint} fell silent for {seconds:g} s in the middle of its answer; look at that "
            "server, or raise `idle_timeout`"
        )
    return DeadlineError(
        f"{endpoint} gave no whole answer within {seconds:g} s; look at that server's load, or "
        "raise `timeout`"
    )


def too_long(endpoint: Endpoint, limit: int) -> BadAnswerError:
    """An answer over `limit` bytes, which no model writes."""
    return BadAnswerError(
        f"{endpoint} sent more than {limit} bytes for one answer; check that `endpoint` is a "
        "model server"
    )


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait, an hour at most: from a number of seconds or an HTTP date.

    None where nothing usable. The limit is for headers that lie: the pause is the whole fleet's.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value, now)
    return min(max(seconds, 0.0), _LONGEST_PAUSE) if math.isfinite(seconds) else None


def said(body: bytes) -> str:
    """The sentence in an error's body, whatever the body's shape; a text body as it is."""
    try:
        value: Any = msgspec.json.decode(body)
    except UNDECODABLE:
        return body.decode(errors="replace")
    return _sentence(value, _DEPTH)


def _sentence(value: Any, depth: int) -> str:
    """The words in `{"error": …}`, `{"message": …}`, `{"detail": …}` or a list of such."""
    if depth == 0:
        return ""
    match value:
        case str():
            return _sentence_in_text(value, depth)
        case dict():
            fields = cast("dict[str, Any]", value)
            if "msg" in fields:
                return _of_field(fields)
            inner = (fields.get(name) for name in ("error", "message", "detail"))
            return next((text for text in (_sentence(i, depth - 1) for i in inner) if text), "")
        case list():
            items = cast("Sequence[Any]", value)
            return "; ".join(text for text in (_sentence(i, depth - 1) for i in items) if text)
        case _:
            return ""


def _sentence_in_text(text: str, depth: int) -> str:
    """Older gateways put the JSON of another error into the message's text."""
    if text.lstrip().startswith(("{", "[")):
        try:
            inner = _sentence(msgspec.json.decode(text), depth - 1)
        except UNDECODABLE:
            return text
        return inner or text
    return text


def _of_field(fields: dict[str, Any]) -> str:
    """`{"loc": ["body", "seed"], "msg": "Extra …"}` as `body.seed: Extra …`."""
    place: Any = fields.get("loc")
    path = ".".join(map(str, cast("Sequence[Any]", place))) if isinstance(place, list) else ""
    return f"{path}: {fields['msg']}" if path else str(fields["msg"])


def _may_pass(status: int) -> bool:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return status != HTTPStatus.NOT_IMPLEMENTED
    return status in _TRANSIENT


def _stated_status(body: bytes) -> int:
    try:
        value: Any = msgspec.json.decode(body)
    except UNDECODABLE:
        value = None
    fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    inner: Any = fields.get("error")
    places = (cast("dict[str, Any]", inner), fields) if isinstance(inner, dict) else (fields,)
    codes = (_status_in(place.get(name)) for place in places for name in _CODES)
    return next(filter(None, codes), HTTPStatus.INTERNAL_SERVER_ERROR)


def _status_in(code: Any) -> int | None:
    """The status that a code is, be it written as text; None where it is a code of another kind."""
    match code:
        case str():
            return next((status for status in _ERRORS if code == str(status)), None)
        case int() if code in _ERRORS:
            return code
        case _:
            return None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no reason given"


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _seconds_until(date: str, now: float) -> float:
    """NaN where `date` is no HTTP date."""
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return math.nan
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() - now
