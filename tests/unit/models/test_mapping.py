"""Each failure becomes the error that says rightly whether another try may help."""

from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import (
    BadAnswerError,
    DeadlineError,
    GalerneError,
    InvalidSettingsError,
    ModelError,
    PermanentError,
    RateLimitedError,
    TooLongError,
    TransientError,
    UnavailableError,
)
from galerne.models.endpoint import Endpoint
from galerne.models.mapping import (
    bad_answer,
    public_cause,
    refusal,
    retry_after,
    said,
    too_slow,
    transport_error,
)
from galerne.settings import RoleSettings

KEY = "sk-very-secret"
KEY_WITH_SIGNS = "sk/very+secret=" + "0123456789" * 20
ENDPOINT = Endpoint(
    RoleSettings(endpoint="http://models.test/", model="mixtral-8x22b", api_key=KEY)
)
RECORDED = Path(__file__).parents[4] / "shared" / "data" / "wire_errors.jsonl"


def refused(status: int, body: Any = b"", **headers: str) -> GalerneError:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return refusal(ENDPOINT, status, named, data, now=1_000_000.0)


# statuses


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, ModelError),
        (307, ModelError),
        (400, ModelError),
        (401, ModelError),
        (402, ModelError),
        (403, ModelError),
        (404, ModelError),
        (405, ModelError),
        (408, TransientError),
        (409, TransientError),
        (413, ModelError),
        (422, ModelError),
        (425, TransientError),
        (429, RateLimitedError),
        (500, TransientError),
        (501, ModelError),
        (502, TransientError),
        (503, TransientError),
        (504, TransientError),
        (529, TransientError),
        (599, TransientError),
        (799, TransientError),
    ],
)
def test_every_status_has_one_meaning(status: int, kind: type[GalerneError]) -> None:
    error = refused(status)
    assert type(error) is kind
    assert "models.test" in str(error)
    assert "\n" not in str(error)


def test_a_refused_key_names_the_setting_and_never_the_key() -> None:
    error = refused(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}})
    assert "GALERNE_EXECUTOR_API_KEY" in str(error)
    assert "[api_key]" in str(error)
    assert KEY not in str(error) + repr(error)


def test_an_unknown_model_is_named() -> None:
    error = refused(404, {"error": {"message": "model not found"}})
    assert "'mixtral-8x22b'" in str(error)
    assert "http://models.test/v1" in str(error)
    assert "model not found" in str(error)


def test_a_redirect_says_where_to() -> None:
    assert "https://models.test/" in str(refused(308, Location="https://models.test/"))


@pytest.mark.parametrize("status", [400, 422, 503, 500])
def test_capacity_is_transient_whatever_its_type(status: int) -> None:
    error = refused(
        status,
        {
            "message": "Service tier capacity exceeded for this model.",
            "type": "invalid_request_error",
        },
        Retry_After="3",
    )
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == 3.0


def test_a_full_context_is_not_a_lack_of_capacity() -> None:
    body = {"error": {"message": "request (9031 tokens) exceeds the available context size"}}
    assert type(refused(400, body)) is TooLongError


def test_a_template_error_is_permanent_even_as_500() -> None:
    assert type(refused(500, {"error": {"message": "Jinja Exception: roles"}})) is ModelError


# how long to wait


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("0.5", 0.5),
        (" 2 ", 2.0),
        ("-3", 0.0),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("Mon, 12 Jan 1970 13:46:50 GMT", 10.0),
        ("Mon, 12 Jan 1970 13:46:50 -0000", 10.0),
        ("Mon, 12 Jan 1970 13:46:30 GMT", 0.0),
        ("Mon, 12 Jan 1970 13:46:50 +99999999999999", None),
        ("Mon, 99999999999999999999 Jan 1970 13:46:50 GMT", None),
        ("1e300", 3600.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, now=1_000_000.0) == seconds


def test_a_pause_reaches_whoever_retries() -> None:
    for status in (429, 503):
        error = refused(status, b"", Retry_After="12")
        assert isinstance(error, TransientError)
        assert error.retry_after == 12.0


# bodies


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"error": {"message": "no"}}, "no"),
        ({"error": "no"}, "no"),
        ({"message": "no"}, "no"),
        ({"detail": "no"}, "no"),
        ({"detail": [{"loc": ["body", "seed"], "msg": "Extra"}]}, "body.seed: Extra"),
        (
            {"detail": [{"loc": ["body", "a", 1], "msg": "one"}, {"msg": "two"}]},
            "body.a.1: one; two",
        ),
        ({"message": {"detail": [{"loc": ["body", "n"], "msg": "Extra"}]}}, "body.n: Extra"),
        ({"message": '{"detail":[{"loc":["body","n"],"msg":"Extra"}]}'}, "body.n: Extra"),
        ({"object": "Error", "message": [{"loc": ["n"], "msg": "Extra"}]}, "n: Extra"),
        ("no", "no"),
        ({"code": 4}, ""),
        (None, ""),
    ],
)
def test_the_sentence_in_a_body_of_any_shape(body: Any, sentence: str) -> None:
    assert said(msgspec.json.encode(body)) == sentence


def test_a_text_body_is_its_own_sentence_in_one_line() -> None:
    assert "upstream is gone" in str(refused(502, b"upstream\n  is gone\n"))
    assert "Bad Gateway" in str(refused(502, b""))
    assert len(str(refused(400, b"x" * 10_000))) < 600


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "detail", "msg", "loc", "code"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.integers(300, 599), json_values.map(msgspec.json.encode) | st.binary(max_size=30))
def test_no_body_is_too_strange(status: int, body: bytes) -> None:
    assert "\n" not in str(refusal(ENDPOINT, status, {}, body, 0.0))


def test_deep_nesting_is_survived() -> None:
    assert isinstance(refused(400, b"[" * 100_000), ModelError)
    assert isinstance(refused(400, b'{"error":' * 500 + b'"x"' + b"}" * 500), ModelError)


def test_a_bad_answer_is_cleaned_before_it_is_cut() -> None:
    error = bad_answer(ENDPOINT, "sent nonsense", b"x" * 195 + KEY.encode())
    assert isinstance(error, BadAnswerError)
    assert "sk-" not in str(error)


def test_deadlines_say_which_setting() -> None:
    whole = too_slow(ENDPOINT, 120, silent=False)
    idle = too_slow(ENDPOINT, 30, silent=True)
    assert isinstance(whole, DeadlineError)
    assert "120 s" in str(whole)
    assert "`timeout`" in str(whole)
    assert "30 s" in str(idle)
    assert "`idle_timeout`" in str(idle)


# connections


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (aiohttp.ServerDisconnectedError(), TransientError),
        (aiohttp.ClientPayloadError("not complete"), TransientError),
        (aiohttp.ClientOSError(104, "reset"), TransientError),
        (aiohttp.ConnectionTimeoutError("too long"), UnavailableError),
        (ConnectionResetError(), TransientError),
        (aiohttp.InvalidURL("x"), ModelError),
    ],
)
def test_a_failed_connection(error: Exception, kind: type[GalerneError]) -> None:
    mapped = transport_error(error, ENDPOINT)
    assert type(mapped) is kind
    assert "http://models.test/v1" in str(mapped)
    assert public_cause(error, ENDPOINT) is error


def chained(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ClientPayloadError(f"bad chunk: b'{KEY}'"),
        chained(aiohttp.ClientPayloadError("bad chunk"), ValueError(f"b'X-Echo: {KEY}'")),
        chained(
            aiohttp.ClientPayloadError("not complete"),
            aiohttp.ClientResponseError(request_info=None, history=(), message="no"),  # type: ignore[arg-type]
        ),
    ],
)
def test_no_traceback_repeats_the_key(error: Exception) -> None:
    assert KEY not in str(transport_error(error, ENDPOINT))
    assert public_cause(error, ENDPOINT) is None


def test_an_error_repeats_no_form_of_the_key() -> None:
    endpoint = Endpoint(RoleSettings(endpoint="http://models.test", api_key=KEY_WITH_SIGNS))
    escaped = KEY_WITH_SIGNS.replace("/", "\\/")
    quoted = quote(KEY_WITH_SIGNS, safe="")
    small = quoted.replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d")
    for told in (KEY_WITH_SIGNS, escaped, quoted, small, quote(KEY_WITH_SIGNS)):
        error = refusal(endpoint, 400, {}, f"no {told}".encode(), 0.0)
        assert told not in str(error)
        padded = b"x" * 190 + told.encode() * 20
        assert told[:12] not in str(bad_answer(endpoint, "sent", padded))
    marked = Endpoint(RoleSettings(endpoint="http://models.test", api_key="sk&<'x"))
    assert "sk&amp" not in marked.clean("<p>no sk&amp;&lt;&#x27;x</p>")
    encoded = b64encode(KEY_WITH_SIGNS.encode()).decode().rstrip("=")
    assert encoded not in str(refusal(endpoint, 400, {}, f"basic {encoded}==".encode(), 0.0))


# the endpoint


@pytest.mark.parametrize(
    ("given_url", "url"),
    [
        ("http://127.0.0.1:11434", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:11434/", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:11434/v1/", "http://127.0.0.1:11434/v1"),
        ("https://host/openai/v1//", "https://host/openai/v1"),
        ("https://host/proxy", "https://host/proxy/v1"),
        ("https://host/v1/chat/completions", "https://host/v1"),
        ("http://[::1]:80/v1", "http://[::1]:80/v1"),
    ],
)
def test_an_address_with_or_without_v1(given_url: str, url: str) -> None:
    assert Endpoint(RoleSettings(endpoint=given_url)).url == url


@pytest.mark.parametrize(
    "address",
    [
        None,
        "",
        "localhost:8000",
        "ftp://host",
        "http://",
        "http://host:99999999",
        "http://[::1",
        f"http://me:{KEY}@host",
        f"http://host/v1?key={KEY}",
    ],
)
def test_an_address_that_is_none(address: str | None) -> None:
    with pytest.raises(InvalidSettingsError) as caught:
        Endpoint(RoleSettings(endpoint=address))
    assert KEY not in str(caught.value)
    assert "endpoint" in str(caught.value)


def test_the_key_shows_nowhere_but_in_the_header() -> None:
    assert ENDPOINT.headers() == {"Authorization": f"Bearer {KEY}"}
    assert KEY not in f"{ENDPOINT} {ENDPOINT!r}"
    assert Endpoint(RoleSettings(endpoint="http://host")).headers() == {}
    with pytest.raises(InvalidSettingsError) as caught:
        Endpoint(RoleSettings(endpoint="http://host", api_key=f"{KEY}\nX: y"))
    assert KEY not in str(caught.value)


# recorded errors of real back ends


@pytest.mark.skipif(not RECORDED.is_file(), reason="../shared/data is absent: no recorded errors")
def test_recorded_errors_are_told_apart_rightly() -> None:
    rows = [msgspec.json.decode(line) for line in RECORDED.read_bytes().splitlines()]
    assert len(rows) >= 20
    wrong: list[str] = []
    for row in rows:
        body = msgspec.json.encode(row["body"])
        error = refusal(ENDPOINT, row["status"], row["headers"], body, now=0.0)
        expected = TransientError if row["retryable"] else PermanentError
        if not isinstance(error, expected):
            wrong.append(f"{row['meaning']}: {error!r}")
    assert wrong == []


@pytest.mark.parametrize(
    "sentence",
    [
        "This model's maximum context length is 32768 tokens. However, you requested 40000",
        "Prompt contains 40210 tokens, too large for model with 32768 maximum context length",
        "request (9031 tokens) exceeds the available context size (4096 tokens)",
        "input length exceeds the context length",
        "the prompt is longer than the model's context length",
    ],
)
def test_what_is_too_long_for_one_model_is_told_from_what_none_would_take(sentence: str) -> None:
    assert type(refused(400, {"error": {"message": sentence}})) is TooLongError
    assert type(refused(401, {"error": {"message": sentence}})) is ModelError
