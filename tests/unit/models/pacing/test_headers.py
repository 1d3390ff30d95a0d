"""The limits in the headers of real services, and of none."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.models.pacing.headers import Told, told

DATA = Path(__file__).parents[5] / "shared" / "data"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-ratelimit-limit-req-minute": "100"}, Told(100 / 60)),
        ({"X-RateLimit-Limit-Req-10-Second": "60"}, Told(6.0)),
        ({"x-ratelimit-limit-tokens-minute": "60000"}, Told(None, 1000.0)),
        ({"x-ratelimitbysize-limit-minute": "500000"}, Told(None, 500_000 / 60)),
        ({"x-ratelimitbysize-limit-month": "1000000000"}, Told()),
        ({"x-ratelimit-limit-tokens-month": "10000000000"}, Told()),
        ({"x-ratelimit-remaining-req-minute": "3"}, Told()),
        ({"ratelimit-policy": '"default";q=10;w=1'}, Told(10.0)),
        ({"RateLimit-Policy": "100;w=60"}, Told(100 / 60)),
        ({"RateLimit-Policy": "100;w=60, 10;w=1, 5000;w=86400"}, Told(100 / 60)),
        ({"ratelimit-policy": '"day";q=5000;w=86400, "burst";q=10;w=1'}, Told(10.0)),
        ({"ratelimit-policy": '"day";q=1;w=99999'}, Told()),
        ({"x-ratelimit-limit-req-minute": "many"}, Told()),
        ({"x-ratelimit-limit-req-minute": "0"}, Told()),
        (
            {"x-ratelimit-limit-req-minute": "600", "x-ratelimit-limit-req-10-second": "60"},
            Told(6.0),
        ),
        ({"Content-Type": "application/json"}, Told()),
    ],
)
def test_what_is_told(headers: Mapping[str, str], expected: Told) -> None:
    assert told(headers) == expected


@given(
    st.dictionaries(
        st.from_regex(r"\Ax-ratelimit-limit-(req|tokens)-(\d{1,4}-)?(second|minute)\Z"), st.text()
    )
)
def test_anything_may_stand_there(headers: dict[str, str]) -> None:
    found = told(headers)
    assert all(limit is None or limit > 0 for limit in (found.requests, found.tokens))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openinference", Told(None, 500_000 / 60)),
        ("openllmetry", Told(6.0, 2_000_000 / 60)),
        ("ruby_llm", Told(100 / 60, 100_000 / 60)),
    ],
)
def test_the_recordings_of_the_hosted_api(name: str, expected: Told) -> None:
    file = DATA / f"wire_mistral_{name}.jsonl"
    if not file.is_file():
        pytest.skip(f"the recordings are not here: {file}")
    with file.open("rb") as lines:
        found = [told(headers) for line in lines for headers in _headers(msgspec.json.decode(line))]
    assert expected in found
    assert set(found) <= {Told(), expected}


def _headers(value: object) -> list[dict[str, str]]:
    """Every object in a recording that has a header of a rate."""
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        inner = [one for part in fields.values() for one in _headers(part)]
        here = {name: _first(v) for name, v in fields.items() if "ratelimit" in name.lower()}
        return [*inner, here] if here else inner
    if isinstance(value, list):
        return [one for part in cast("list[object]", value) for one in _headers(part)]
    return []


def _first(value: object) -> str:
    return str(cast("list[object]", value)[0] if isinstance(value, list) else value)
