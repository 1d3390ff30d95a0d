"""What JetStream answers to a publish and to its API, and the conditions of a publish."""

import contextlib
from typing import Any, cast

import msgspec

from galerne.bus import mapping
from galerne.bus.replies import Message
from galerne.errors import UnavailableError


class _Stored(msgspec.Struct):
    """JetStream's answer to a publish."""

    seq: int


_decode_stored = msgspec.json.Decoder(_Stored).decode


def conditions(message_id: str | None, expected: int | None) -> dict[str, str] | None:
    """The headers of a publish that is to be stored only so."""
    headers: dict[str, str] = {}
    if message_id is not None:
        headers["Nats-Msg-Id"] = message_id
    if expected is not None:
        headers["Nats-Expected-Last-Subject-Sequence"] = str(expected)
    return headers or None


def check_responders(answer: Message, subject: str) -> None:
    if not answer.data and answer.headers.get("Status") == "503":
        raise mapping.of_no_responders(subject)


def stored_sequence(answer: Message, subject: str) -> int:
    """The sequence in an acknowledgement of a publish. Raises what it says instead."""
    check_responders(answer, subject)
    if not answer.data.startswith(b'{"error"'):
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            return _decode_stored(answer.data).seq
    doing = f"publishing to {subject}"
    json_object(answer, doing)  # raises what the server says
    raise UnavailableError(f"{doing}: what answers there is not JetStream")


def json_object(message: Message, doing: str) -> dict[str, Any]:
    """The answer of JetStream as a dict. Raises its `error` as ours."""
    try:
        answer = msgspec.json.decode(message.data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnavailableError(f"{doing}: what answers there is not JetStream") from error
    match answer.get("error"):
        case None:
            return answer
        case dict():
            raise mapping.of_api_error(cast("dict[str, Any]", answer["error"]), doing)
        case _:
            raise UnavailableError(f"{doing}: what answers there is not JetStream")
