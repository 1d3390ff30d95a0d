"""Which dialect a back end speaks, from what is known of it.

In this order: what the settings say, the address (the hosted API has its host, Ollama its port),
then what the server says of itself in the heads and bodies of its answers. A server that says
nothing gets the generic dialect, which all of them understand.
"""

from collections.abc import Iterable, Mapping
from typing import assert_never
from urllib.parse import urlsplit

from galerne.models.dialects.contract import Dialect, Spoken
from galerne.models.dialects.llamacpp import LlamaCppDialect
from galerne.models.dialects.mistral import MistralDialect
from galerne.models.dialects.ollama import OllamaDialect
from galerne.models.dialects.openai import OpenAIDialect
from galerne.models.dialects.vllm import VllmDialect

_HOSTS: Mapping[str, Spoken] = {
    "api.mistral.ai": "mistral",
    "codestral.mistral.ai": "mistral",
    "api.openai.com": "openai",
}
_PORTS: Mapping[int, Spoken] = {11434: "ollama"}
_OWNERS: Mapping[str, Spoken] = {
    "mistralai": "mistral",
    "vllm": "vllm",
    "llamacpp": "llamacpp",
    "library": "ollama",  # the namespace of Ollama's own models
}
_SERVERS: Mapping[str, Spoken] = {"llama.cpp": "llamacpp"}


def dialect_named(name: Spoken) -> Dialect:
    """The dialect of that name."""
    match name:
        case "mistral":
            return MistralDialect()
        case "vllm":
            return VllmDialect()
        case "ollama":
            return OllamaDialect()
        case "llamacpp":
            return LlamaCppDialect()
        case "openai":
            return OpenAIDialect()
        case _:
            assert_never(name)


def told_by_address(url: str) -> Spoken | None:
    """What the address of an endpoint tells: `http://127.0.0.1:11434/v1` is Ollama's."""
    parts = urlsplit(url)
    return _HOSTS.get(parts.hostname or "") or _PORTS.get(parts.port or 0)


def told_by_server(headers: Mapping[str, str]) -> Spoken | None:
    """What the head of any answer tells."""
    return _SERVERS.get(headers.get("Server", "").lower())


def told_by_owners(owners: Iterable[str | None]) -> Spoken | None:
    """What the `owned_by` fields of `GET /v1/models` tell; None where they do not agree."""
    told: set[Spoken | None] = {_OWNERS.get(owner or "") for owner in owners}
    return told.pop() if len(told) == 1 else None
