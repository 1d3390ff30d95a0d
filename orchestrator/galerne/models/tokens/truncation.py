"""Tells from a server's count of a prompt that it did not read all of it.

Ollama, and older builds of llama.cpp, cut a prompt that is longer than their context and answer
as if nothing had happened; only `usage.prompt_tokens` gives it away. Two numbers cannot be wrong
in one direction: a prompt has no fewer tokens than words (`at_least`), and a conversation that
grew no fewer than before. A server that counts fewer has not read it all.

Unless it counts only what it did not have in its prompt cache, as a few did. Such a server counts
fewer also where nothing can have been cut: in a prompt no longer than the smallest context there
is or than one that it has read, or below what every cut leaves. Seen once, its counts prove
nothing any more.
"""

from collections import OrderedDict
from collections.abc import Sequence

from galerne.messages.chat import ChatMessage
from galerne.models.tokens.counting import ESTIMATE
from galerne.models.tokens.estimate import at_least

SMALLEST_CONTEXT = 2048
"""Tokens; Ollama's old default, and the smallest of any server's."""
_CERTAIN = 0.9
"""Templates strip blanks around turns, and some leave empty ones out."""
_GROWN = 0.95
"""Some leave out what a model thought in earlier turns."""
_REMEMBERED = 1024
"""Prompts; of each a hash and a number."""
_LOOKED_BACK = 64
"""Turns by which a conversation may have grown since it was last counted."""


class PromptWatch:
    """What one endpoint has counted so far. No I/O; one for each model at each address."""

    def __init__(self) -> None:
        self._counts: OrderedDict[int, int] = OrderedDict()
        self.largest = 0
        """The largest count of a prompt: the context is no smaller."""
        self.counts_all = True
        """Whether the counts say how much was read, as far as is known."""

    def unread(self, messages: tuple[ChatMessage, ...], tools: bytes, counted: int) -> int | None:
        """How many tokens `messages` have at least, where fewer were surely read; else None.

        `counted` is the server's `prompt_tokens`, 0 where it gave none; `tools` is any encoding of
        the tools on offer.
        """
        if counted <= 0:
            return None
        self.largest = max(self.largest, counted)
        known = hash(tools)
        prompt = hash((known, messages))
        before, new = self._begun(messages, known, prompt)
        letters = sum([len(turn.content) for turn in messages])
        added = sum([len(turn.content) for turn in new])
        # So it mostly is: a text has no fewer letters than four times `at_least`.
        if 4 * counted >= max(_CERTAIN * letters, _GROWN * (4 * before + added)):
            self._remember(prompt, counted)
            return None
        certain = _CERTAIN * sum([at_least(turn.content) for turn in messages])
        said = sum([at_least(turn.content) for turn in new if turn.role != "assistant"])
        least = int(max(certain, _GROWN * (before + said) if before else 0))
        if counted >= least:
            self._remember(prompt, counted)
            return None
        if self.counts_all and self._cannot_be_cut(messages, tools, counted):
            self.counts_all = False
        return least if self.counts_all else None

    def _begun(
        self, messages: tuple[ChatMessage, ...], tools: int, prompt: int
    ) -> tuple[int, tuple[ChatMessage, ...]]:
        """The count of this conversation's longest beginning that was counted, and what is new."""
        if count := self._counts.get(prompt):
            return count, ()
        end = len(messages)
        for length in range(end - 1, max(0, end - _LOOKED_BACK), -1):
            if messages[length].role == "assistant":  # else nobody has answered there
                count = self._counts.get(hash((tools, messages[:length])))
                if count:
                    return count, messages[length:]
        return 0, ()

    def _remember(self, prompt: int, counted: int) -> None:
        self._counts[prompt] = counted
        self._counts.move_to_end(prompt)
        if len(self._counts) > _REMEMBERED:
            self._counts.popitem(last=False)

    def _cannot_be_cut(self, messages: Sequence[ChatMessage], tools: bytes, counted: int) -> bool:
        """Whether this prompt fits where one has fitted, or a cut would have left more of it."""
        size = len(tools) + sum(ESTIMATE.message(turn) for turn in messages)
        if size <= max(SMALLEST_CONTEXT, self.largest):
            return True
        kept = [turn for turn in messages if turn.role == "system"] + list(messages[-1:])
        return counted < min(SMALLEST_CONTEXT // 2, sum(at_least(turn.content) for turn in kept))
