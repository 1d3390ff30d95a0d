"""The one place where nats-py's errors and the server's error codes become ours."""

import asyncio
from typing import Any

import nats.errors

from galerne.errors import (
    BusyError,
    DeadlineError,
    GalerneError,
    InvalidSettingsError,
    NotFoundError,
    PermanentError,
    TooLargeError,
    TransientError,
    UnavailableError,
)

_WRONG_SEQUENCE = frozenset({10071, 10164})
"""JetStream: the subject's last sequence is not the expected one (one server, a cluster)."""
_NO_DISK = 10047
_NO_ROOM = frozenset({10077, 10023, 10047})
"""A limit of the stream, the resources of the server, its storage."""
_TOO_LARGE = 10054
"""A stream's own limit of the size of a message."""
_NOT_FOUND = frozenset({10014, 10037, 10059})
"""No such consumer, message, stream."""


class ConflictError(PermanentError):
    """The subject holds another message than the writer expected."""

    code = "conflict"


def of_exception(error: Exception, doing: str) -> GalerneError:
    """nats-py's exception, met while `doing` something."""
    match error:
        case GalerneError():
            return error
        case nats.errors.MaxPayloadError():
            return TooLargeError(f"{doing}: the message is larger than the server allows")
        case nats.errors.AuthorizationError():
            return InvalidSettingsError(f"{doing}: the server refused the credentials")
        case nats.errors.NoServersError() | OSError() | nats.errors.ConnectionClosedError():
            return UnavailableError(f"{doing}: no connection to the NATS server")
        case nats.errors.OutboundBufferLimitError() | nats.errors.StaleConnectionError():
            return UnavailableError(f"{doing}: the connection to the NATS server is down")
        case nats.errors.TimeoutError() | asyncio.TimeoutError():
            return DeadlineError(f"{doing}: the NATS server did not answer in time")
        case _:
            return TransientError(f"{doing}: {type(error).__name__}: {error}")


def of_api_error(error: dict[str, Any], doing: str) -> GalerneError:
    """The `error` object of a JetStream API answer: `{code, err_code, description}`."""
    number = error.get("err_code", 0)
    text = f"{doing}: {error.get('description', error)}"
    if number in _WRONG_SEQUENCE:
        return ConflictError(text)
    if number == _TOO_LARGE:
        return TooLargeError(text)
    if number == _NO_DISK:
        return BusyError(
            f"{text}: the disk of the NATS server's store folder has too little room;"
            " free some, or start it with another folder"
        )
    if number in _NO_ROOM:
        return BusyError(f"{text} (JetStream error {number})")
    if number in _NOT_FOUND:
        return NotFoundError(text)
    if error.get("code") in {408, 503}:
        return UnavailableError(text)
    return PermanentError(f"{text} (JetStream error {number})")


def of_no_responders(subject: str) -> GalerneError:
    """The server's answer where nothing listens."""
    if subject.startswith("$JS.API."):
        return UnavailableError(
            "JetStream does not answer: start nats-server with `-js`, or wait if it just started"
        )
    return UnavailableError(f"nobody answers on {subject}: no service and no stream is there")


def is_refusal(error: Exception) -> bool:
    """Whether the server has turned the credentials down."""
    return (
        isinstance(error, nats.errors.AuthorizationError) or "authorization" in str(error).lower()
    )
