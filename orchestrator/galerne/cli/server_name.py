"""A server's address without the password that may stand in it."""

import re

_LOGIN = re.compile(r"(?<=://)[^@/,\s]*@")


def shown(server: str) -> str:
    """`nats://user:secret@host:4222` as `nats://host:4222`; several with commas too."""
    return _LOGIN.sub("", server)
