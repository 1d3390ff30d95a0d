"""One model of the catalogue: its fields, as models.toml has them, and what follows from them.

Nothing here reads a clock: whoever asks whether a model is retired says on which day.
"""

from datetime import date
from typing import Literal

import msgspec

BackEnd = Literal["hosted", "vllm", "ollama", "llama_cpp"]
Quality = Literal["simple", "moderate", "complex"]
Place = Literal["hosted", "own"]
Precision = Literal["fp16", "int8", "int4"]
Status = Literal["ga", "preview", "deprecated", "retired", "self-hosted"]

QUALITIES: tuple[Quality, ...] = ("simple", "moderate", "complex")
PRECISIONS: tuple[Precision, ...] = ("fp16", "int8", "int4")

_BYTES: dict[Precision, float] = {"fp16": 2.0, "int8": 34 / 32, "int4": 18 / 32}
"""Bytes of a weight. The last two are ggml's Q8_0 and Q4_0: blocks of 32 weights of 8 or 4 bits
with a scale of 2 bytes; GPTQ, AWQ and Q4_K_M take about as much."""
_OVERHEAD = 1.2
"""For cache, activations and runtime beside the weights: EleutherAI, Transformer Math 101."""
_GIB = 2**30
_READ = 0.9
"""Part of an agent's tokens that are prompt: each turn sends the whole conversation again."""


class Memory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """GiB of GPU memory to serve a model."""

    fp16: float
    int8: float
    int4: float

    def of(self, precision: Precision) -> float:
        return {"fp16": self.fp16, "int8": self.int8, "int4": self.int4}[precision]


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of one model; None or empty where nobody has published it."""

    id: str
    """Our name of it; versioned."""
    title: str
    family: str
    uses: tuple[str, ...]
    """What it is for. Only a model with `chat` plans or executes."""
    tools: Literal["native", "prompt", "none"]
    """Trained to call tools, brought to it by the prompt, or not for chat at all."""
    status: Status
    """On the hosted API; `self-hosted` for one that was never there."""
    released: date | None = None
    hosted: tuple[str, ...] = ()
    """Names on the hosted API, the lasting one first."""
    hugging_face: tuple[str, ...] = ()
    """Repositories of the weights, which vLLM takes as names."""
    ollama: tuple[str, ...] = ()
    """Tags, the shortest first; the last one can be followed by a quantisation."""
    gguf: tuple[str, ...] = ()
    """Repositories with files for llama.cpp."""
    also: tuple[str, ...] = ()
    """Short names that mean this model on servers that let their owner choose."""
    parameters: float | None = None
    """Billions."""
    active: float | None = None
    """Billions at work for one token: fewer than `parameters` in a mixture of experts."""
    context: int | None = None
    """Tokens, prompt and answer together."""
    tokenizer: str | None = None
    structured_outputs: bool = False
    """Whether the hosted API takes a JSON schema for it."""
    licence: str | None = None
    input_price: float | None = None
    """US dollars per million tokens, or per `price_unit`."""
    output_price: float | None = None
    price_unit: str | None = None
    priced: date | None = None
    """The day of the price."""
    deprecated: date | None = None
    retired: date | None = None
    """The day on which it leaves, or left, the hosted API."""
    replacement: str | None = None
    """The id of what its maker recommends instead."""
    memory: Memory | None = None
    """A measured need, in place of the computed one."""
    planner: Quality | None = None
    """The most demanding jobs for which `choose` recommends it as a planner."""
    executor: Quality | None = None
    recommended_on: tuple[Place, ...] = ()

    @property
    def chats(self) -> bool:
        return "chat" in self.uses

    @property
    def self_hostable(self) -> bool:
        """Whether its weights can be had."""
        return bool(self.hugging_face or self.ollama or self.gguf)

    @property
    def memory_needed(self) -> Memory | None:
        """The measured need; else weights x bytes of the precision x 1.2; None: nobody can say."""
        if self.memory is not None or self.parameters is None or not self.self_hostable:
            return self.memory
        weights = self.parameters * 1e9 * _OVERHEAD / _GIB
        rounded = {name: round(weights * size, 1) for name, size in _BYTES.items()}
        return Memory(fp16=rounded["fp16"], int8=rounded["int8"], int4=rounded["int4"])

    @property
    def blended_price(self) -> float | None:
        """US dollars per million tokens, nine of ten read and one written; None: not by tokens."""
        if self.input_price is None or self.output_price is None or self.price_unit is not None:
            return None
        return _READ * self.input_price + (1 - _READ) * self.output_price

    def is_retired(self, today: date) -> bool:
        """Whether the hosted API has let it go: it is said to be gone, or its day has come."""
        return self.status == "retired" or (self.retired is not None and self.retired <= today)

    def is_hosted(self, today: date) -> bool:
        """Whether the hosted API has it today."""
        return bool(self.hosted) and self.status != "self-hosted" and not self.is_retired(today)

    def names(self, on: BackEnd) -> tuple[str, ...]:
        """Its names on a back end."""
        match on:
            case "hosted":
                return self.hosted
            case "vllm":
                return (*self.hugging_face, *self.also)
            case "ollama":
                return self.ollama
            case "llama_cpp":
                return (*self.gguf, *self.hugging_face, *self.also)
