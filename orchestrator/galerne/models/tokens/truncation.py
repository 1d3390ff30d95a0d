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
from collections.abc import Callable, Sequence

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
_LETTERS = 4
"""No less than `at_least`, and without a look at the text."""

Size = Callable[[str], int]


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
        if counted >= self._least(messages, known, len, _LETTERS):  # so it mostly is, and at once
            self._remember(hash((known, messages)), counted)
            return None
        least = self._least(messages, known, at_least)
        if counted >= least:
            self._remember(hash((known, messages)), counted)
            return None
        if self.counts_all and self._cannot_be_cut(messages, tools, counted):
            self.counts_all = False
        return least if self.counts_all else None

    def _least(
        self, messages: tuple[ChatMessage, ...], tools: int, size: Size, units: int = 1
    ) -> int:
        """The tokens of the whole conversation, by its words or by what was counted before.

        `size` counts a text in `units` of a token.
        """
        certain = int(_CERTAIN * sum([size(turn.content) for turn in messages])) // units
        return max(certain, self._grown(messages, tools, size, units))

    def _grown(self, messages: tuple[ChatMessage, ...], tools: int, size: Size, units: int) -> int:
        """By the longest beginning of this conversation that was counted before."""
        end = len(messages)
        for length in range(end, max(0, end - _LOOKED_BACK), -1):
            if length < end and messages[length].role != "assistant":
                continue  # nobody has answered there
            before = self._counts.get(hash((tools, messages[:length])))
            if before is not None:
                new = messages[length:]
                said = sum(size(turn.content) for turn in new if turn.role != "assistant")
                return int(_GROWN * (before + said // units))
        return 0

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
