"""What an answer of a service means for whoever called: a value, or one of our errors. Pure.

2xx  a value            4xx  a ToolError that the model reads (429: a pause)
5xx  passing, but in doubt for a `once` operation: it may have happened
3xx  a ToolError, or the news that it is done (303); redirects are never followed
"""

from http import HTTPStatus
from typing import Any

import msgspec

from galerne.errors import (
    GalerneError,
    InDoubtError,
    RateLimitedError,
    ToolError,
    UnavailableError,
)
from galerne_tools.openapi.operations import Operation, is_json
from galerne_tools.secrets import Secret

_EXCERPT = 600
_TEXT = ("text/", "application/xml", "application/yaml", "application/javascript")
_NOTHING_DONE = frozenset({HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED})
_LONGEST_PAUSE = 3600.0


class Answer(msgspec.Struct, frozen=True):
    """`kind` is the content type; `cut`: there was more than `data`, or it broke off."""

    status: int
    kind: str
    data: bytes
    cut: bool
    location: str = ""
    retry_after: str = ""


def value_of(operation: Operation, answer: Answer, secret: Secret) -> Any:
    """The value of an answer that says yes, without the secret. Raises GalerneError."""
    status = answer.status
    if status >= HTTPStatus.MULTIPLE_CHOICES and status != HTTPStatus.SEE_OTHER:
        raise _error(operation, answer, secret)
    if status < HTTPStatus.OK:
        raise doubt(operation, f"answered {status}")
    if status == HTTPStatus.SEE_OTHER:
        return {"status": status, "location": secret.clean(answer.location)[:_EXCERPT]}
    if not answer.data and not answer.cut:
        return {"status": status}
    if answer.cut:
        return _unreadable(operation, status, "its answer is too large, or broke off")
    kind = answer.kind.partition(";")[0].strip().lower()
    text = secret.clean(answer.data.decode("utf-8", "replace"))
    if is_json(kind) or not kind:
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return text
    if not kind.startswith(_TEXT):
        return _unreadable(operation, status, f"its answer is {kind[:80]!r} and not text")
    return text


def doubt(operation: Operation, what: str) -> GalerneError:
    """For a call that was sent and of which nobody knows what it did."""
    if operation.effect == "once":
        return InDoubtError(
            f"{operation.name}: the service {what} after the call was sent, so it may or may not "
            "have happened"
        )
    return UnavailableError(f"{operation.name}: the service {what}; try later")


def _unreadable(operation: Operation, status: int, why: str) -> Any:
    """What has had an effect has succeeded all the same."""
    if operation.effect == "pure":
        raise ToolError(f"{operation.name}: {why}; ask for less or for something else")
    return {"status": status, "note": f"it has succeeded, but {why}"}


def _error(operation: Operation, answer: Answer, secret: Secret) -> GalerneError:
    status, said = answer.status, _sentence(answer, secret)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitedError(
            f"{operation.name}: the service asks for a pause{said}; try later",
            retry_after=_pause(answer.retry_after),
        )
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return ToolError(
            f"{operation.name} is not permitted ({status}){said}; go on without it: only the "
            "settings of its login can mend that"
        )
    if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return ToolError(f"{operation.name} was refused ({status}){said}")
    if status in _NOTHING_DONE:
        return ToolError(f"{operation.name}: the service cannot do this ({status}){said}")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return doubt(operation, f"answered {status}{said}")
    if operation.effect == "once" and status not in {
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }:
        return doubt(operation, f"answered {status}, a redirect,")
    return ToolError(
        f"{operation.name}: the service has moved ({status}); go on without it: only its base in "
        "the settings can mend that"
    )


def _sentence(answer: Answer, secret: Secret) -> str:
    """The beginning of what it says, in one line: models correct themselves by it."""
    kind = answer.kind.partition(";")[0].strip().lower()
    if not (is_json(kind) or kind == "text/plain"):
        return ""
    line = " ".join(secret.clean(answer.data.decode("utf-8", "replace")).split())
    return f": {line[:_EXCERPT]}" if line else ""


def _pause(stated: str) -> float | None:
    """Seconds, None where there is no number; a date is no pause that can be told purely."""
    try:
        seconds = float(stated)
    except ValueError:
        return None
    return min(max(seconds, 0.0), _LONGEST_PAUSE) if seconds == seconds else None  # noqa: PLR0124
