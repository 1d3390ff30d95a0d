"""From two picks to what a person types: commands that start them, and settings that name them.

On own GPUs, Ollama serves what is quantised and everything for prototypes, vLLM the rest, and
llama.cpp what only has files for it. Two vLLM servers on the same cards each get their part of the
memory, because each would take nine tenths of it; and each is told how long a conversation may
be, because it refuses to start where one of the model's whole context does not fit.
"""

import math

import msgspec

from galerne.models.catalogue.catalogue import Catalogue
from galerne.models.catalogue.choosing import Pick, Recommendation, Wish
from galerne.models.catalogue.model import Model, Precision

HOSTED = "https://api.mistral.ai/v1"
_OLLAMA = "http://127.0.0.1:11434/v1"
_PORTS = {"planner": 8001, "executor": 8002}
_TAGS: dict[Precision, str] = {"fp16": "fp16", "int8": "q8_0", "int4": "q4_0"}
_TOOL_FLAGS = (
    "--tokenizer-mode mistral",
    "--enable-auto-tool-choice",
    "--tool-call-parser mistral",
)
_CONTEXT = 32_768
_VLLM_CONTEXT = 16_384
"""Tokens where no wish names any: what Galerne's own conversations need, with room to spare; for
vLLM as many as fit into the fifth of memory that is reckoned beside the weights."""
_VLLM_SHARE = 0.9


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """Commands, each as its parts (the command, then its flags), and variables for Galerne."""

    commands: tuple[tuple[str, ...], ...]
    variables: dict[str, str]


class _Server(msgspec.Struct, frozen=True):
    endpoint: str
    model: str
    commands: tuple[tuple[str, ...], ...] = ()


def serving(picked: Recommendation, wish: Wish, catalogue: Catalogue) -> Serving:
    """How to start the two picks and how to tell Galerne of them."""
    planner, executor = picked.planner, picked.executor
    same = (planner.model, planner.place) == (executor.model, executor.place)
    first = _server(planner, catalogue[planner.model], wish, _share(planner, executor, wish, same))
    second = first
    if not same:
        share = _share(executor, planner, wish, same)
        second = _server(executor, catalogue[executor.model], wish, share)
    variables: dict[str, str] = {}
    for pick, server in ((planner, first), (executor, second)):
        variables.update(_variables(pick, server, catalogue[pick.model]))
    commands = dict.fromkeys((*first.commands, *second.commands))
    return Serving(commands=tuple(commands), variables=variables)


def _variables(pick: Pick, server: _Server, model: Model) -> dict[str, str]:
    prefix = f"GALERNE_{pick.role.upper()}"
    lines = {f"{prefix}_ENDPOINT": server.endpoint, f"{prefix}_MODEL": server.model}
    if pick.place == "hosted":
        lines[f"{prefix}_API_KEY"] = "YOUR_KEY"
        if model.blended_price is not None:
            lines[f"{prefix}_INPUT_PRICE"] = f"{model.input_price:g}"
            lines[f"{prefix}_OUTPUT_PRICE"] = f"{model.output_price:g}"
    return lines


def _share(pick: Pick, other: Pick, wish: Wish, same: bool) -> float | None:  # noqa: FBT001 - private, one caller
    """The part of the GPUs' memory that a server takes; None: all that it wants."""
    if same or pick.memory_gib is None or other.memory_gib is None:
        return None
    least = pick.memory_gib / wish.gpus.total
    return max(least, _VLLM_SHARE * pick.memory_gib / (pick.memory_gib + other.memory_gib))


def _server(pick: Pick, model: Model, wish: Wish, share: float | None) -> _Server:
    if pick.place == "hosted":
        return _Server(HOSTED, model.hosted[0])
    quantised = pick.precision != "fp16" or wish.quality == "simple"
    if model.ollama and (quantised or not model.hugging_face):
        return _ollama(pick, model, wish)
    if model.hugging_face:
        return _vllm(pick, model, wish, share)
    return _llama_cpp(pick, model)


def _ollama(pick: Pick, model: Model, wish: Wish) -> _Server:
    """With the context set: Ollama's own default is short, and it cuts silently."""
    tag = f"{model.ollama[-1]}-{_TAGS[pick.precision or 'int4']}"
    context = _context(model, wish, _CONTEXT)
    start = (f"OLLAMA_CONTEXT_LENGTH={context} ollama serve",)
    return _Server(_OLLAMA, tag, (start, (f"ollama pull {tag}",)))


def _vllm(pick: Pick, model: Model, wish: Wish, share: float | None) -> _Server:
    port = _PORTS[pick.role]
    flags = [f"vllm serve {model.hugging_face[0]}", f"--port {port}"]
    if wish.gpus.count > 1:
        flags.append(f"--tensor-parallel-size {wish.gpus.count}")
    flags.append(f"--max-model-len {_context(model, wish, _VLLM_CONTEXT)}")
    if share is not None:
        flags.append(f"--gpu-memory-utilization {math.floor(100 * share) / 100:g}")
    if model.tools == "native":
        flags.extend(_TOOL_FLAGS)
    return _Server(_local(port), model.hugging_face[0], (tuple(flags),))


def _llama_cpp(pick: Pick, model: Model) -> _Server:
    port = _PORTS[pick.role]
    name = f"{model.gguf[0]}:{_TAGS[pick.precision or 'int4'].upper()}"
    return _Server(_local(port), name, ((f"llama-server -hf {name}", "--jinja", f"--port {port}"),))


def _local(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1"


def _context(model: Model, wish: Wish, usual: int) -> int:
    """Tokens to serve: what is wished or usual, and no more than the model has."""
    wanted = wish.context or usual
    return wanted if model.context is None else min(wanted, model.context)
