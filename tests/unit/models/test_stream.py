"""Answers, plain and streamed, become the same reply whatever form the back end chose."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.core.budget import FREE
from galerne.errors import (
    BadAnswerError,
    GalerneError,
    ModelError,
    RateLimitedError,
    TransientError,
)
from galerne.messages.chat import ChatReply, TokenUsage, ToolCall
from galerne.models.endpoint import Endpoint
from galerne.models.reply import plain_reply
from galerne.models.stream import ReplyStream
from galerne.settings import RoleSettings

ENDPOINT = Endpoint(RoleSettings(endpoint="http://models.test", model="mistral-7b"))


def event(value: Any) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"id": "r1", "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def call_piece(**fields: Any) -> dict[str, Any]:
    return delta(tool_calls=[fields])


def folded(data: bytes, size: int | None = None) -> tuple[ChatReply, str]:
    stream = ReplyStream(ENDPOINT)
    size = size or max(len(data), 1)
    text = "".join(stream.feed(data[i : i + size]) for i in range(0, len(data), size))
    text += stream.finish()
    return stream.reply(), text


def stream_of(*chunks: dict[str, Any], done: bool = True) -> bytes:
    return b"".join(map(event, chunks)) + (b"data: [DONE]\n\n" if done else b"")


def plain(message: dict[str, Any], finish: str | None = "stop", **fields: Any) -> ChatReply:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return plain_reply(msgspec.json.encode({"id": "r1", "choices": [choice], **fields}), ENDPOINT)


# text


def test_text_is_joined_and_usage_comes_from_the_last_chunk() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    reply, text = folded(
        stream_of(
            {"model": "m-1", **delta(role="assistant", content="")},
            delta(content="Good "),
            {**delta(content="day", finish="stop"), "usage": usage},
        )
    )
    assert text == reply.message.content == "Good day"
    assert (reply.id, reply.model, reply.finish) == ("r1", "m-1", "stop")
    assert reply.usage == TokenUsage(7, 2)


def test_usage_in_a_chunk_without_choices() -> None:
    usage: dict[str, Any] = {
        "choices": [],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
    }
    reply, _ = folded(stream_of(delta(content="a", finish="stop"), usage))
    assert reply.usage == TokenUsage(3, 1)


def test_absent_usage_and_model_have_plain_defaults() -> None:
    reply, _ = folded(stream_of(delta(content="a", finish="stop"), {"choices": [], "usage": None}))
    assert reply.usage == TokenUsage()
    assert reply.model == "mistral-7b"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("", ""),
        ("so", "so"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, "b"], "b"),
        ([{"type": "image_url", "image_url": "x", "text": "no"}, {"text": "b"}], "b"),
    ],
)
def test_content_in_every_form(content: Any, text: str) -> None:
    assert plain({"role": "assistant", "content": content}).message.content == text
    assert folded(stream_of(delta(content=content, finish="stop")))[1] == text


def test_other_choices_are_ignored() -> None:
    chunk = {"choices": [{"index": 1, "delta": {"content": "other"}}]}
    assert folded(stream_of(chunk, delta(content="this", finish="stop")))[1] == "this"


# tool calls


def test_calls_are_put_together_by_index() -> None:
    reply, text = folded(
        stream_of(
            call_piece(index=1, id="b", function={"name": "second", "arguments": ""}),
            call_piece(index=0, id="a", function={"name": "first", "arguments": '{"x"'}),
            call_piece(index=1, function={"arguments": "{}"}),
            call_piece(index=0, id=None, function={"name": None, "arguments": ": 1}"}),
            delta(finish="tool_calls"),
        )
    )
    assert text == ""
    assert reply.message.tool_calls == (
        ToolCall("a", "first", '{"x": 1}'),
        ToolCall("b", "second", "{}"),
    )


def test_old_vllm_says_stop_and_still_means_the_calls() -> None:
    piece = call_piece(index=0, id="a", function={"name": "f", "arguments": "{}"})
    reply, _ = folded(stream_of(piece, delta(finish="stop")))
    assert reply.finish == "tool_calls"
    assert [call.name for call in reply.message.tool_calls] == ["f"]


def test_calls_that_all_have_index_0_stay_apart() -> None:
    reply, _ = folded(
        stream_of(
            call_piece(index=0, id="a", function={"name": "f", "arguments": '{"n": 1}'}),
            call_piece(index=0, id="b", function={"name": "f", "arguments": '{"n": 2}'}),
            delta(finish="tool_calls"),
        )
    )
    assert [(c.id, c.arguments) for c in reply.message.tool_calls] == [
        ("a", '{"n": 1}'),
        ("b", '{"n": 2}'),
    ]


def test_calls_without_index_or_id() -> None:
    pieces = [
        call_piece(function={"name": "f", "arguments": "{"}),
        call_piece(function={"arguments": "}"}),
        call_piece(id="null", function={"name": "g", "arguments": {"n": 2}}),
        delta(finish="tool_calls"),
    ]
    reply, _ = folded(stream_of(*pieces))
    assert [(c.name, c.arguments) for c in reply.message.tool_calls] == [
        ("f", "{}"),
        ("g", '{"n":2}'),
    ]
    ids = [call.id for call in reply.message.tool_calls]
    assert len(set(ids)) == 2
    assert all(ids)
    assert folded(stream_of(*pieces))[0] == reply


def test_an_id_repeated_without_index_continues_its_call() -> None:
    reply, _ = folded(
        stream_of(
            call_piece(id="a", function={"name": "f", "arguments": '{"n"'}),
            call_piece(id="b", function={"name": "g", "arguments": "{}"}),
            call_piece(id="a", function={"name": "f", "arguments": ": 1}"}),
            delta(finish="tool_calls"),
        )
    )
    assert [c.arguments for c in reply.message.tool_calls] == ['{"n": 1}', "{}"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"a": "\\u00e9"}', '{"a": "\\u00e9"}'),
        ({"a": 1}, '{"a":1}'),
        ("", "{}"),
        (None, "{}"),
        ("not json", "not json"),
    ],
)
def test_arguments_as_text_or_object(arguments: Any, text: str) -> None:
    calls = [{"id": "a", "function": {"name": "f", "arguments": arguments}}]
    assert plain({"tool_calls": calls}).message.tool_calls == (ToolCall("a", "f", text),)
    streamed, _ = folded(stream_of(delta(tool_calls=calls, finish="stop")))
    assert streamed.message.tool_calls == (ToolCall("a", "f", text),)


@pytest.mark.parametrize("finish", ["length", "model_length", None])
@pytest.mark.parametrize("arguments", ['{"path": "a', "", "12", '"a"'])
def test_a_cut_call_is_never_handed_out(finish: str | None, arguments: str) -> None:
    calls = [{"id": "a", "function": {"name": "f", "arguments": arguments}}]
    whole = plain({"content": "So", "tool_calls": calls}, finish)
    assert (whole.message.content, whole.message.tool_calls) == ("So", ())
    assert whole.complaint.startswith("your call of 'f' was cut before its end by the limit")
    streamed, _ = folded(stream_of(delta(content="So", tool_calls=calls, finish=finish)))
    assert (streamed.message, streamed.complaint) == (whole.message, whole.complaint)


@pytest.mark.parametrize("finish", ["max_tokens", "content_filter", "abort"])
def test_a_call_that_a_server_stopped_is_not_one_without_arguments(finish: str) -> None:
    calls = [{"id": "a", "function": {"name": "delete_all", "arguments": ""}}]
    reply = plain({"tool_calls": calls}, finish)
    assert reply.message.tool_calls == ()
    assert reply.complaint.startswith("your call of 'delete_all' was cut before its end")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (-5, 0),
        (None, 0),
        (7, 7),
        (7.0, 7),
        ("7", 7),
        ("many", 0),
        ("nan", 0),
        ("inf", 0),
        (10**18, 2**53 - 1),
        (10**30, 2**53 - 1),
    ],
)
def test_counts_that_cannot_be_true_are_kept_within_bounds(said: Any, kept: int) -> None:
    reply = plain({"content": "So"}, usage={"prompt_tokens": said, "completion_tokens": said})
    assert reply.usage == TokenUsage(kept, kept)


def test_a_number_as_the_id_of_an_answer_costs_nothing() -> None:
    body = b'{"id": 12, "choices": [{"message": {"content": "So"}, "finish_reason": "stop"}]}'
    assert plain_reply(body, ENDPOINT).id == "12"


def test_a_whole_call_before_the_limit_counts() -> None:
    calls = [{"id": "a", "function": {"name": "f", "arguments": '{"a": 1}'}}]
    reply = plain({"tool_calls": calls}, "length")
    assert (reply.finish, len(reply.message.tool_calls)) == ("length", 1)


@pytest.mark.parametrize("function", [None, {}, {"name": "", "arguments": "{}"}])
def test_a_call_without_a_name_is_a_bad_answer(function: Any) -> None:
    with pytest.raises(BadAnswerError, match="without a name"):
        plain({"tool_calls": [{"id": "a", "function": function}]}, "tool_calls")


# the end of a stream


def test_a_stream_that_just_ends_was_cut() -> None:
    with pytest.raises(TransientError, match="in the middle") as caught:
        folded(stream_of(delta(content="half"), done=False))
    assert not isinstance(caught.value, BadAnswerError)


def test_a_stream_cut_inside_an_event_was_cut() -> None:
    data = stream_of(delta(content="half"), delta(content="more"), done=False)
    with pytest.raises(TransientError, match="in the middle"):
        folded(data[:-10])


@pytest.mark.parametrize("last", [b"data: [DONE]", b"data: [DONE]\r\n", b""])
def test_a_finish_reason_or_done_makes_it_whole(last: bytes) -> None:
    finished = stream_of(delta(content="a", finish="stop"), done=False)
    assert folded(finished + last)[1] == "a"
    if last:
        reply, _ = folded(stream_of(delta(content="a"), done=False) + last)
        assert (reply.finish, reply.message.content) == ("stop", "a")


def test_an_open_last_event_still_counts() -> None:
    data = stream_of(delta(content="a"), delta(content="b", finish="stop"), done=False)
    assert folded(data.rstrip(b"\n"))[1] == "ab"


def test_done_alone_is_no_answer() -> None:
    with pytest.raises(BadAnswerError, match="without an answer"):
        folded(b"data: [DONE]\n\n")


def test_finish_error_is_a_bad_answer() -> None:
    with pytest.raises(BadAnswerError, match="broke its answer off"):
        folded(stream_of(delta(content="a", finish="error")))


ERRORS: list[tuple[bytes, type[GalerneError]]] = [
    (b'data: {"error": {"message": "boom", "code": 500}}\n\n', TransientError),
    (b'data: {"error": {"message": "no such tool", "code": 400}}\n\n', ModelError),
    (b'data: {"error": {"message": "slower", "code": 429}}\n\n', RateLimitedError),
    (b'data: {"object": "error", "message": "too long", "code": 400}\n\n', ModelError),
    (b'data: {"error": {"message": "slower", "code": "429"}}\n\n', RateLimitedError),
    (b'data: {"error": {"message": "no key", "status": 401}}\n\n', ModelError),
    (b'data: {"error": {"message": "no", "code": ["x"]}, "status_code": 400}\n\n', ModelError),
    (b'data: {"object": "error", "code": "1300", "raw_status_code": 429}\n\n', RateLimitedError),
    (b'error: {"error": {"message": "failed to decode, try again"}}\n\n', TransientError),
    (b'data: {"error": "plain words"}\n\n', TransientError),
]


@pytest.mark.parametrize(("body", "kind"), ERRORS)
def test_an_error_in_place_of_an_answer(body: bytes, kind: type[GalerneError]) -> None:
    with pytest.raises(kind):
        folded(body)


@pytest.mark.parametrize("body", [body for body, _ in ERRORS])
def test_an_error_in_the_middle_of_an_answer_is_no_refusal(body: bytes) -> None:
    """Whoever counts what was spent must not take it for a call that was never made."""
    with pytest.raises(TransientError, match="broke off") as caught:
        folded(stream_of(delta(content="a"), done=False) + body)
    assert not isinstance(caught.value, FREE)


def test_a_piece_that_is_no_json_is_a_bad_answer() -> None:
    with pytest.raises(BadAnswerError, match="oops"):
        folded(b"data: {oops\n\n")


@pytest.mark.parametrize(
    "body", [b"", b"<html>nothing here</html>", b"[]", b'{"id": "x"}', b"\xff"]
)
def test_a_plain_body_that_is_no_answer(body: bytes) -> None:
    with pytest.raises(BadAnswerError):
        plain_reply(body, ENDPOINT)


def test_a_bad_answer_shows_at_most_200_characters() -> None:
    with pytest.raises(BadAnswerError) as caught:
        plain_reply(b"<p>" + b"long " * 1000, ENDPOINT)
    assert "<p>long long" in str(caught.value)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_an_error_with_status_200() -> None:
    with pytest.raises(ModelError, match="no such model"):
        plain_reply(b'{"error": {"message": "no such model", "code": 404}}', ENDPOINT)


# whatever the size of the pieces

USAGE: dict[str, Any] = {
    "choices": [],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2},
}


@st.composite
def any_chunk(draw: st.DrawFn) -> dict[str, Any]:
    match draw(st.sampled_from(["text", "call", "usage", "end"])):
        case "text":
            return delta(content=draw(st.text(max_size=20)))
        case "call":
            return call_piece(
                index=draw(st.none() | st.integers(0, 2)),
                id=draw(st.sampled_from([None, "", "null", "a", "b"])),
                function={
                    "name": draw(st.sampled_from([None, "", "f", "g"])),
                    "arguments": draw(st.sampled_from(["", "{", "}", '"a": 1', "{}"])),
                },
            )
        case "usage":
            return USAGE
        case _:
            return delta(finish=draw(st.sampled_from(["stop", "length", None])))


def outcome(data: bytes, size: int | None) -> tuple[str, Any]:
    try:
        reply, text = folded(data, size)
    except GalerneError as error:
        return type(error).__name__, str(error)
    assert text == reply.message.content
    return "reply", reply


@given(st.lists(any_chunk(), max_size=8), st.booleans(), st.integers(1, 50), st.integers(0, 60))
def test_the_reply_does_not_depend_on_the_size_of_pieces(
    chunks: list[dict[str, Any]], done: bool, size: int, lost: int
) -> None:
    data = stream_of(*chunks, done=done)
    data = data[: max(len(data) - lost, 0)]
    assert outcome(data, size) == outcome(data, None)


@given(st.text(max_size=60), st.integers(1, 9))
def test_streamed_and_plain_say_the_same(text: str, size: int) -> None:
    chunks = [delta(content=letter) for letter in text]
    streamed, _ = folded(stream_of(*chunks, delta(finish="stop")), size)
    assert streamed == plain({"content": text})
