"""What NATS will carry, checked before it is sent, and read however it was made.

Anybody may publish subjects and headers that are no text. nats-py would end its reader over one
of them, and a server ends the connection of whoever sends a subject that it cannot parse; so both
directions are guarded here.
"""

import re
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from galerne.errors import InvalidInputError, InvalidSettingsError
from galerne.logs import get_logger

log = get_logger("galerne.bus.wire")

LONGEST_SUBJECT = 1024
"""Characters; the server's line holds 4,096 with a subject, a reply and the sizes."""

_SUBJECT = re.compile(r"[!-)+\-/-=?-~]+(\.[!-)+\-/-=?-~]+)*")
"""Tokens of printable ASCII without the wildcards `*` and `>`."""
_SCHEMES = frozenset({"nats", "tls", "ws", "wss"})
_PASSWORD = re.compile(r"(?<=//)[^/@]*@")


class TolerantClient(Client):
    """nats-py's client, whose reader survives subjects and headers that are not text."""

    def _build_message(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg:
        return self.msg_class(
            subject=subject.decode("utf-8", "backslashreplace"),
            reply=reply.decode("utf-8", "backslashreplace"),
            data=data,
            headers=headers,
            _client=self,
            _sid=sid,
        )

    async def _process_headers(self, headers: Any) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)  # pyright: ignore[reportUnknownMemberType] - it is untyped
        except (ValueError, IndexError) as error:
            log.debug("headers that are none were left out", error=str(error))
            return None

    async def _process_pong(self) -> None:
        """Of a ping that nobody waits for any more, too: the base class ends its reader there."""
        waiting = self._pongs  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - its Future is untyped
        if waiting and waiting[0].done():
            waiting.pop(0)
            self._pings_outstanding = 0
            return
        await super()._process_pong()

    async def close(self) -> None:
        """Also before connecting has begun or while the server is away: the base raises then."""
        if self._flush_queue is None:
            return
        if not self.is_connected:  # nobody takes what was left to send
            self._pending, self._pending_data_size = [], 0
        try:
            await super().close()
        except OSError as error:
            log.debug("the connection broke while it was closed", error=str(error))


def check_subject(subject: str) -> None:
    """Raises InvalidInputError for what a server could not parse as one place to publish to."""
    if len(subject) > LONGEST_SUBJECT or _SUBJECT.fullmatch(subject) is None:
        raise InvalidInputError(
            f"{subject[:80]!r} is no subject to publish to: use up to {LONGEST_SUBJECT} plain"
            " characters, in tokens with single dots between them"
        )


def message_size(data: bytes, headers: dict[str, str] | None) -> int:
    """Bytes of a message as the server counts them."""
    if not headers:
        return len(data)
    lines = sum(len(name.encode()) + len(value.encode()) + 4 for name, value in headers.items())
    return len(data) + lines + len(b"NATS/1.0\r\n\r\n")


def server_urls(server: str) -> list[str]:
    """The URLs in a setting, with commas between them. Raises InvalidSettingsError."""
    urls = [url.strip() for url in server.split(",")]
    for url in urls:
        scheme, found, rest = url.partition("://")
        if not (rest if found else scheme) or (found and scheme not in _SCHEMES):
            raise InvalidSettingsError(
                f"{without_password(url)!r} is no NATS server: write nats://host:port"
            )
        if any(character.isspace() for character in url):
            raise InvalidSettingsError(f"the NATS server's URL {url!r} has blanks in it")
    return urls


def without_password(server: str) -> str:
    """URLs fit for a log."""
    return _PASSWORD.sub("***@", server)
