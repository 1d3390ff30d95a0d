"""A model server that pretends: over real HTTP, whole, or with the faults that real ones have.

The "model" behind it does what a good one would: it calls the tool that fits, greets, counts, and
repeats the password that it was told, as long as the server lets it see the message. Everything
else is the server's doing, and every fault here was seen on a real one (see `Traits`).
"""

import json
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, Literal

import msgspec
from aiohttp import web

KNOWN = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "temperature",
        "tools",
        "tool_choice",
        "stream",
        "stream_options",
        "response_format",
        "seed",
    }
)
NUMBERS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen twenty"
)


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """What kind of server, and what is wrong with it. The defaults are a whole one."""

    owner: str = "vllm"
    models: tuple[str, ...] = ("mistralai/Mistral-7B-Instruct-v0.3",)
    key: str | None = None
    tools: Literal["native", "refused", "leaked"] = "native"
    """`refused`: vLLM without its two flags; `leaked`: with another family's parser."""
    enforces_choice: bool = True
    enforces_schema: bool = True
    context: int = 32_768
    cuts: bool = False
    """Ollama: what is too long loses its beginning, and the usage counts what is left."""
    stream_usage: bool = True
    strict: int | None = None
    """The status with which a template refuses what breaks Mistral's rules."""
    unknown: int | None = None
    """The status with which an unknown field is refused."""
    busy: bool = False


class Pretender:
    """One such server; `asked` are the bodies it got, `keys` the headers."""

    def __init__(self, traits: Traits) -> None:
        self.traits = traits
        self.url = ""
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    async def models(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers.get("Authorization"))
        data = [{"id": name, "owned_by": self.traits.owner} for name in self.traits.models]
        return web.json_response({"object": "list", "data": data})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        self.keys.append(request.headers.get("Authorization"))
        body: dict[str, Any] = json.loads(await request.read())
        self.asked.append(body)
        refused = self._refusal(request, body)
        if refused is not None:
            status, words = refused
            return web.json_response({"error": {"message": words, "code": status}}, status=status)
        message, prompt = self._answer(body)
        text = message["content"] or ""
        written = min(max(len(text.split()), 4), body["max_tokens"])
        usage = {"prompt_tokens": prompt, "completion_tokens": written}
        if body.get("stream"):
            return await self._stream(request, text, usage, body)
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({"id": "r1", "choices": [choice], "usage": usage})

    def _refusal(self, request: web.Request, body: dict[str, Any]) -> tuple[int, str] | None:
        traits = self.traits
        if (
            traits.key is not None
            and request.headers.get("Authorization") != f"Bearer {traits.key}"
        ):
            said = request.headers.get("Authorization", "").removeprefix("Bearer ")
            return 401, f"Invalid API key: {said}"
        if traits.busy:
            return 429, "Requests rate limit exceeded"
        if not {body["model"], f"{body['model']}:latest"} & set(traits.models):
            return 404, f"The model `{body['model']}` does not exist."
        if traits.unknown is not None and (more := body.keys() - KNOWN):
            return traits.unknown, f"Extra inputs are not permitted: {', '.join(sorted(more))}"
        if traits.tools == "refused" and body.get("tools") and "tool_choice" not in body:
            return 400, (
                '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser'
                " to be set"
            )
        if traits.strict is not None and (breach := breach_of(body["messages"])):
            return traits.strict, breach
        tokens = tokens_of(body["messages"])
        if tokens > traits.context and not traits.cuts:
            return 400, (
                f"This model's maximum context length is {traits.context} tokens. However, you"
                f" requested {tokens} tokens. Please reduce the length of the messages."
            )
        return None

    def _answer(self, body: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """The assistant's message, and the tokens of the prompt that it saw."""
        seen = body["messages"][-1]["content"] or ""
        tokens = tokens_of(body["messages"])
        if tokens > self.traits.context:
            seen, tokens = seen[-self.traits.context * 4 :], self.traits.context
        tools = [tool["function"] for tool in body.get("tools", ())]
        choice = body.get("tool_choice") if self.traits.enforces_choice else None
        called = None
        if isinstance(choice, dict):
            called = next(tool for tool in tools if tool["name"] == choice["function"]["name"])
        elif tools and (choice in {"required", "any"} or "weather" in seen):
            called = tools[0]
        if called is not None:
            return self._call(called, forced=choice is not None), tokens
        if "response_format" in body and self.traits.enforces_schema:
            schema = body["response_format"]["json_schema"]["schema"]
            return {"role": "assistant", "content": json.dumps(instance(schema))}, tokens
        return {"role": "assistant", "content": said(seen)}, tokens

    def _call(self, tool: dict[str, Any], *, forced: bool) -> dict[str, Any]:
        arguments = instance(tool["parameters"])
        if self.traits.tools == "leaked" and not forced:
            text = f"[TOOL_CALLS]{json.dumps([{'name': tool['name'], 'arguments': arguments}])}"
            return {"role": "assistant", "content": text}
        function = {"name": tool["name"], "arguments": json.dumps(arguments)}
        call = {"id": "chatcmpl-tool-0123456789", "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}

    async def _stream(
        self, request: web.Request, text: str, usage: dict[str, int], body: dict[str, Any]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        chunks: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}]}
            for word in text.split()
        ]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if self.traits.stream_usage and body.get("stream_options"):
            chunks.append({"choices": [], "usage": usage})
        for chunk in chunks:
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response


@asynccontextmanager
async def pretending(traits: Traits, port: int = 0) -> AsyncGenerator[Pretender]:
    pretender = Pretender(traits)
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_post("/v1/chat/completions", pretender.chat)
    app.router.add_get("/v1/models", pretender.models)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        pretender.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield pretender
    finally:
        await runner.cleanup()


def said(seen: str) -> str:
    """What a good model answers to the last message."""
    if "password" in seen:
        found = re.search(r"The password is (\w+)", seen)
        return found[1] if found else "I was told no password."
    return NUMBERS if "Count" in seen else "Hello there, nice to meet you."


def instance(schema: dict[str, Any]) -> Any:
    """The first value that keeps a schema of objects, enums and booleans."""
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "boolean":
        return True
    return {name: instance(inner) for name, inner in schema["properties"].items()}


def tokens_of(messages: Sequence[dict[str, Any]]) -> int:
    return 8 + sum(len(message["content"] or "") for message in messages) // 4


def breach_of(messages: Sequence[dict[str, Any]]) -> str:
    """The words of Mistral's templates for the first rule that is broken; empty for none."""
    roles = [message["role"] for message in messages]
    for before, role in pairwise(roles):
        if role == "system":
            return f"Unexpected role 'system' after role '{before}'"
        if (before, role) == ("tool", "user"):
            return "Unexpected role 'user' after role 'tool'"
    ids = [message.get("tool_call_id") for message in messages]
    ids += [call["id"] for message in messages for call in message.get("tool_calls", ())]
    if any(call_id and not re.fullmatch("[a-zA-Z0-9]{9}", call_id) for call_id in ids):
        return "Tool call IDs should be alphanumeric strings with length 9!"
    return ""
