"""The context of one model at one address: what may be sent there, and what was really read.

    settings' `context`, else the catalogue's for the model's name, else 32,768
      ─▶ less once the server has shown that it reads less (`truncation.py`)
      ─▶ minus the answer's `max_tokens`: the room that a conversation is fitted to (`fitting.py`)

Counting is as cheap as it may be: by bytes, which settles most prompts; by the estimate; and only
what that cannot settle exactly, where the tokenizer is known and installed, in a thread.
"""

from functools import partial

import anyio.to_thread
import msgspec

from galerne.logs import get_logger
from galerne.messages.chat import ChatMessage, ChatReply, ChatRequest
from galerne.models.catalogue import Catalogue, Model, packaged
from galerne.models.dialects import Dialect, Spoken
from galerne.models.endpoint import Endpoint
from galerne.models.tokens.counting import ESTIMATE, Counter, bytes_of
from galerne.models.tokens.exact import can_count, exact
from galerne.models.tokens.fitting import Fitted, fit
from galerne.models.tokens.truncation import PromptWatch
from galerne.settings import RoleSettings

log = get_logger("galerne.models")

UNKNOWN = 32_768
"""Tokens of context of a model that nobody knows: what most that can be had have at least."""


class Prompt(msgspec.Struct, frozen=True):
    """What is sent, and what is to be said about it."""

    messages: tuple[ChatMessage, ...]
    tools: bytes = b""
    """Any encoding of them; two prompts are compared by it."""
    max_tokens: int | None = None
    """Of the answer: what was asked for, or half of the context; None: nobody has looked yet."""
    notices: tuple[str, ...] = ()


class Window:
    """Fits prompts and looks at the counts that come back. One for each `ModelClient`."""

    def __init__(
        self, settings: RoleSettings, endpoint: Endpoint, catalogue: Catalogue | None = None
    ) -> None:
        """`catalogue` None is the packaged one, read where the settings name no context."""
        self._settings = settings
        self._endpoint = endpoint
        self._catalogue = catalogue
        self._known: dict[Spoken, Model | None] = {}
        self._watch = PromptWatch()
        self._learned: int | None = None
        self._told = False

    def context(self, dialect: Dialect) -> int:
        """Tokens, prompt and answer together, that the model is taken to have."""
        stated = self._stated(dialect)
        learned = self._learned if self._watch.counts_all else None
        return min(stated, learned or stated)

    def _stated(self, dialect: Dialect) -> int:
        if self._settings.context is not None:
            return self._settings.context
        model = self._model(dialect)
        return (model.context if model is not None else None) or UNKNOWN

    async def fit(
        self, request: ChatRequest, tools: bytes, dialect: Dialect, reserved: int = 0
    ) -> Prompt:
        """What may be sent of `request`, whose messages have passed `obey_rules`.

        `tools` are its tools, encoded; `reserved` tokens are left free for what is added to it in
        words.
        Raises ModelError where it surely cannot be made to fit.
        """
        context = self.context(dialect)
        answer = min(request.max_tokens or self._settings.max_tokens, max(1, context // 2))
        room = context - answer - reserved
        if bytes_of(request.messages, tools, len(request.tools)) <= room:
            return Prompt(request.messages, tools, answer)
        fitted = await self._fitted(request, room, answer, dialect)
        notices = (_cut_notice(context, fitted),) if fitted.is_cut else ()
        return Prompt(fitted.messages, tools, answer, notices)

    def heard(self, prompt: Prompt, reply: ChatReply, dialect: Dialect) -> ChatReply:
        """`reply` with what there is to say about how much of `prompt` was read."""
        notices = prompt.notices
        counted = reply.usage.prompt_tokens
        unread = self._watch.unread(prompt.messages, prompt.tools, counted)
        if unread is not None:
            self._learned = self._least_context(counted)
            notices = (*notices, self._truncated(counted, unread, dialect))
        return msgspec.structs.replace(reply, notices=notices) if notices else reply

    async def _fitted(
        self, request: ChatRequest, room: int, answer: int, dialect: Dialect
    ) -> Fitted:
        messages, tools = request.messages, request.tools
        most = self._stated(dialect) - answer
        cut = partial(fit, messages, tools, room, excerpts=request.excerpts, most=most)
        model = self._model(dialect)
        tokenizer = model.tokenizer if model is not None else None
        if not can_count(tokenizer):
            return cut(counter=ESTIMATE)
        if (size := ESTIMATE.prompt(messages, tools)) <= room:
            return Fitted(messages, size)
        return await anyio.to_thread.run_sync(_cut_exactly, cut, tokenizer)

    def _model(self, dialect: Dialect) -> Model | None:
        """What the catalogue knows of the model by its name, on that back end or on another."""
        if dialect.name not in self._known:
            name, on = self._settings.model, dialect.catalogued
            catalogue = self._catalogue or packaged()
            model = (catalogue.find(name, on) if on else None) or catalogue.find(name)
            if model is None or model.context is None:
                log.debug(
                    "the model's context is not known; set `context` of its role",
                    model=name,
                    context=self._settings.context or UNKNOWN,
                )
            self._known[dialect.name] = model
        return self._known[dialect.name]

    def _least_context(self, counted: int) -> int:
        """The context behind a cut prompt: a power of two, as most are; else what it has read."""
        rounded = 1 << (counted - 1).bit_length()
        known = rounded if self._learned is None or rounded < self._learned else counted
        return max(known, self._watch.largest)

    def _truncated(self, counted: int, unread: int, dialect: Dialect) -> str:
        advice = dialect.longer_context
        if not self._told:
            self._told = True
            log.warning(
                "the server left out a part of a prompt without saying so",
                endpoint=str(self._endpoint),
                read=counted,
                sent_at_least=unread,
                from_now_on_at_most=self._learned,
                advice=advice,
            )
        return (
            f"the server read only {counted:,} of at least {unread:,} tokens and left out the rest"
            f" without saying so: {advice}"
        )


def _cut_notice(context: int, fitted: Fitted) -> str:
    """The same words each time, so that a task with many turns has it once."""
    what = "results were shortened" if fitted.shortened else ""
    if fitted.left_out:
        what += " and earlier turns left out" if what else "earlier turns were left out"
    return f"to fit the context of {context:,} tokens, {what}"


def _cut_exactly(cut: "partial[Fitted]", tokenizer: str | None) -> Fitted:
    counter: Counter = exact(tokenizer) or ESTIMATE
    return cut(counter=counter)
