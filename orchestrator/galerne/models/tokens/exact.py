"""Exact counts by mistral-common, which the extra `tokens` installs.

It comes with the tokenizers v1, v2, v3, v7 and two of Tekken, so nothing is fetched. It is
imported where the first count is made and not before: that takes a second, 60 MB and, for Tekken,
100 MB more, which a worker whose conversations are short never spends. The first count and the
long ones belong into a thread.
"""

import threading
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import msgspec

from galerne.messages.chat import ChatMessage, ToolSchema
from galerne.models.tokens.counting import Counter
from galerne.models.wire import wire_messages, wire_tools

PACKAGE = "mistral_common"
_MAKERS: Mapping[str, tuple[str, dict[str, bool]]] = {
    "v1": ("v1", {}),
    "v2": ("v2", {}),
    "v3": ("v3", {}),
    "v7": ("v7", {}),
    "tekken 240718": ("v3", {"is_tekken": True}),
    "tekken 240911": ("v3", {"is_tekken": True, "is_mm": True}),
}
"""The catalogue's `tokenizer` to what makes it, of those whose files are in the package."""
_loading = threading.Lock()


class ExactCounter(Counter):
    """Counts as the model's own tokenizer and template do."""

    __slots__ = ("_request", "_tokenizer", "_trouble")

    def __init__(self, tokenizer: Any, request: Any, trouble: type[Exception]) -> None:
        self._tokenizer = tokenizer
        self._request = request
        self._trouble = trouble
        encode: Any = tokenizer.instruct_tokenizer.tokenizer.encode
        super().__init__(lambda text: len(encode(text, bos=False, eos=False)))

    def prompt(self, messages: Sequence[ChatMessage], tools: Sequence[ToolSchema] = ()) -> int:
        """Tokens of the whole prompt, as the hosted API counts them.

        What this tokenizer's template cannot write (v1 knows no tools) is the sum of its turns.
        """
        body = msgspec.to_builtins({"messages": wire_messages(messages)})
        if tools:
            body["tools"] = msgspec.to_builtins(wire_tools(tools))
        try:
            request = self._request.model_validate(body)
            return len(self._tokenizer.encode_chat_completion(request).tokens)
        except self._trouble:
            return super().prompt(messages, tools)

    def least(self, messages: Sequence[ChatMessage], tools: Sequence[ToolSchema] = ()) -> int:
        return self.prompt(messages, tools)


def can_count(tokenizer: str | None) -> bool:
    """Whether `exact` has a counter for it; nothing is imported to know that."""
    return tokenizer in _MAKERS and _is_installed()


def exact(tokenizer: str | None) -> ExactCounter | None:
    """The counter of a tokenizer, named as in the catalogue. None: not installed, or not shipped.

    Takes a second or two at first; safe to call in threads.
    """
    if tokenizer is None or not can_count(tokenizer):
        return None
    with _loading:
        return _load(tokenizer)


@cache
def _is_installed() -> bool:
    return find_spec(PACKAGE) is not None and find_spec("sentencepiece") is not None


@lru_cache(maxsize=len(_MAKERS))
def _load(tokenizer: str) -> ExactCounter:
    makers: Any = import_module(f"{PACKAGE}.tokens.tokenizers.mistral").MistralTokenizer
    requests: Any = import_module(f"{PACKAGE}.protocol.instruct.request")
    trouble: Any = import_module(f"{PACKAGE}.exceptions").MistralCommonException
    name, options = _MAKERS[tokenizer]
    return ExactCounter(getattr(makers, name)(**options), requests.ChatCompletionRequest, trouble)
