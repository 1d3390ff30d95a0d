"""What a server's headers say of its limits.

The hosted API has changed the names twice, and all three forms are in recordings:

    x-ratelimit-limit-req-minute: 100            x-ratelimit-limit-tokens-minute: 100000
    x-ratelimit-limit-req-10-second: 60          (tokens as above)
    x-ratelimitbysize-limit-minute: 500000       tokens; the requests are not told

Gateways that follow the IETF's draft send `ratelimit-policy: "name";q=10;w=1`, or `10;w=1` in
older versions of it, several with commas. vLLM, Ollama and llama.cpp send nothing. Limits by the
day or the month are left out: to spread a month's tokens evenly over its seconds would help nobody.
"""

import re
from collections.abc import Mapping

import msgspec

_SECONDS = {"second": 1.0, "minute": 60.0}
_LIMIT = re.compile(
    r"x-ratelimit-limit-(req|requests|tokens)-(?:(\d{1,4})-)?(second|minute)", re.IGNORECASE
)
_BY_SIZE = re.compile(r"x-ratelimitbysize-limit-(second|minute)", re.IGNORECASE)
_POLICY = re.compile(r"(?:;\s*q=|(?:^|,)\s*)(\d{1,9})\b[^,]*?;\s*w=(\d{1,5})\b")

_LONGEST_WINDOW = 3600.0  # seconds
_DIGITS = 12  # more are no limit at all


class Told(msgspec.Struct, frozen=True):
    """Requests and tokens per second; None where nothing was said."""

    requests: float | None = None
    tokens: float | None = None


def told(headers: Mapping[str, str]) -> Told:
    """The lowest of each kind of limit. What is no number is as if it were not there."""
    requests: list[float] = []
    tokens: list[float] = []
    for name, value in headers.items():
        if "ratelimit" not in name.lower():
            continue
        if found := _LIMIT.fullmatch(name):
            window = _SECONDS[found[3].lower()] * int(found[2] or 1)
            kind = tokens if found[1].lower() == "tokens" else requests
            kind.extend(_per_second(value, window))
        elif found := _BY_SIZE.fullmatch(name):
            tokens.extend(_per_second(value, _SECONDS[found[1].lower()]))
        elif name.lower() == "ratelimit-policy":
            for policy in _POLICY.finditer(value):
                requests.extend(_per_second(policy[1], float(policy[2])))
    return Told(min(requests, default=None), min(tokens, default=None))


def _per_second(value: str, window: float) -> list[float]:
    text = value.strip()
    if (
        not (text.isascii() and text.isdigit())
        or len(text) > _DIGITS
        or not int(text)
        or not 0.0 < window <= _LONGEST_WINDOW
    ):
        return []
    return [int(text) / window]
