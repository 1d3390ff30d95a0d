"""What a submit message that is of no use still tells: whose job it was, and what is wrong."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import InvalidInputError, InvalidMessageError
from galerne.messages.codec import decode_submit
from galerne.messages.ids import TenantId, job_id_of_key
from galerne.messages.requests import Submit
from galerne.runtime.submissions import checked, job_in, job_of, why_unusable

ACME = TenantId("acme")
HEAD = b'{"type":"submit","job":"e7","goal":'


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (HEAD + b'"g","priority":"urgent"}', "priority must be high, normal or low"),
        (HEAD + b'"g","priority":"a - at `$.goal` b"}', "priority must be high, normal or low"),
        (HEAD + b'"g","priority":"recursion"}', "priority must be high, normal or low"),
        (HEAD + b"5}", "goal must be text"),
        (b'{"type":"submit","job":"e7"}', "goal is missing"),
        (HEAD + b'"g","key":5}', "key must be text"),
        (HEAD + b'"g","inputs":[]}', "inputs must be an object"),
        (HEAD + b'"g","tools":"x"}', "tools must be a list of names"),
        (HEAD + b'"g","tools":["a",1]}', "tools must be a list of names"),
        (HEAD + b'"g","inputs":{"a":1e999}}', "inputs holds a number that is out of range"),
        (HEAD + b'"g","inputs":{"a":' + b"9" * 5000 + b"}}", "inputs holds a number"),
        (HEAD + b'"g\\ud800"}', "not JSON in UTF-8"),
        (HEAD + b'"g","inputs":{"a":"\\udc00"}}', "not JSON in UTF-8"),
        (HEAD + b'"\xff"}', "not JSON in UTF-8"),
        (HEAD + b'"g","inputs":{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}}", "too deeply"),
        (HEAD + b'"g', "not JSON in UTF-8"),
    ],
)
def test_an_unusable_message_tells_its_job_and_what_to_change(data: bytes, why: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        decode_submit(data)
    said = why_unusable(str(caught.value))
    assert why in said
    assert "\n" not in said
    assert job_in(data, ACME) == "e7"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'"e7"',
        b'[{"type":"submit","job":"e7"}]',
        b'{"type":"submit","goal":5}',
        b'{"type":"submit","job":"a b","goal":5}',
        b'{"type":"submit","job":5,"key":"k","goal":"g"}',
        b'{"type":"submit","job":{"job":"e7"},"goal":5}',
        b'{"type":"submit","inputs":{"job":"e7"},"goal":5}',
        b'{"type":"submit","goal":"\\",\\"job\\":\\"e7\\""}',
        b'{"type":"submit","job":"e7',
        b'{"type":"submit","job":"\\ud800"}',
        b'{"type":"cancel","job":"e7","why":5}',
        b'{"type":5,"job":"e7"}',
        b'{} {"type":"submit","job":"e7"}',
    ],
)
def test_a_message_without_a_usable_id_names_no_job(data: bytes) -> None:
    assert job_in(data, ACME) is None


def test_a_key_alone_names_its_job() -> None:
    key = 'nightly \u00e9 "1"'
    data = json.dumps({"type": "submit", "job": None, "key": key, "goal": 5}).encode()
    assert job_in(data, ACME) == job_id_of_key(ACME, key)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("job"), inner),
)


@given(st.dictionaries(st.text(), JSON), st.booleans())
def test_the_id_is_found_beside_anything(fields: dict[str, Any], ascii_only: bool) -> None:
    whole = {**fields, "type": "submit", "job": "e7", "goal": 5, "key": None}
    data = json.dumps(whole, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert job_in(data, ACME) == "e7"


@given(st.binary())
def test_no_bytes_are_too_strange(data: bytes) -> None:
    assert job_in(data, ACME) is None
    assert job_in(HEAD + data, ACME) in {"e7", None}


def test_a_job_may_name_tools() -> None:
    submit = Submit(goal="g", job="j", tools=("a-B_9", "x" * 64))
    checked(submit)
    assert job_of(submit, ACME).tools == submit.tools
    checked(Submit(goal="g", job="j", tools=()))


@pytest.mark.parametrize("name", ["", "a b", "a.*", ">", "x" * 65, "\u00e9", "a\n"])
def test_a_tool_that_is_no_name_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        checked(Submit(goal="g", job="j", tools=("fine", name)))
    assert repr(name)[:60] in str(caught.value)
