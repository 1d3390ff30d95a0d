"""What a server's count proves, and what it does not."""

import pytest

from galerne.messages.chat import ChatMessage
from galerne.models.tokens import ESTIMATE, PromptWatch, exact
from galerne.models.tokens.truncation import SMALLEST_CONTEXT
from unit.models.tokens.conversations import SYSTEM, TASK, dialogue, words

NO_TOOLS = b"[]"


def counted(messages: tuple[ChatMessage, ...]) -> int:
    counter = exact("v3")
    assert counter is not None
    return counter.prompt(messages)


def unread(watch: PromptWatch, messages: tuple[ChatMessage, ...], count: int) -> int | None:
    return watch.unread(messages, NO_TOOLS, count)


def test_an_honest_count_is_believed_at_every_turn() -> None:
    watch = PromptWatch()
    sizes = [300, 2000, 5, 900, 4000]
    for n in range(len(sizes)):
        history = dialogue(*sizes[: n + 1])
        assert unread(watch, history, counted(history)) is None
    assert watch.largest == counted(dialogue(*sizes))
    assert watch.counts_all


def test_a_count_below_the_number_of_words_is_a_cut_prompt() -> None:
    history = dialogue(20_000)
    least = unread(PromptWatch(), history, 4096)
    assert least is not None
    assert 4096 < least <= counted(history)


def test_a_conversation_cannot_grow_and_have_fewer_tokens() -> None:
    """By words alone this one would pass: half of its tokens are signs."""
    watch = PromptWatch()
    first = (SYSTEM, ChatMessage("user", "{}; " * 1300 + words(20)))
    assert unread(watch, first, counted(first)) is None
    grown = (*first, ChatMessage("assistant", "I see."), ChatMessage("user", words(700)))
    assert unread(watch, grown, counted(first) - 100) is not None
    assert unread(watch, grown, counted(grown)) is None


def test_no_count_proves_nothing() -> None:
    assert unread(PromptWatch(), dialogue(20_000), 0) is None


def test_a_server_that_counts_only_what_is_new_is_found_out_by_a_short_prompt() -> None:
    watch = PromptWatch()
    short = (SYSTEM, ChatMessage("user", words(300)))
    assert ESTIMATE.prompt(short) < SMALLEST_CONTEXT
    assert unread(watch, short, counted(short)) is None
    assert unread(watch, short, 1) is None
    assert not watch.counts_all
    assert unread(watch, dialogue(20_000), 4096) is None


def test_or_by_a_prompt_that_fits_where_a_longer_one_did() -> None:
    watch = PromptWatch()
    long = dialogue(8000)
    assert unread(watch, long, counted(long)) is None
    assert unread(watch, dialogue(3000), 900) is None
    assert not watch.counts_all


def test_or_by_a_count_that_no_cut_leaves() -> None:
    """Every server keeps the system's words and the last turn."""
    watch = PromptWatch()
    system = ChatMessage("system", words(400))
    prompt = (system, TASK, ChatMessage("assistant", words(5000)), ChatMessage("user", words(100)))
    assert unread(watch, prompt, 150) is None
    assert not watch.counts_all


@pytest.mark.parametrize("context", [2048, 4096, 8192])
def test_a_cut_to_the_last_turns_is_seen(context: int) -> None:
    """What a server keeps of a long history, as it counts it."""
    history = dialogue(*[400] * 40)
    kept = history[1:]
    while counted((SYSTEM, *kept)) > context:
        kept = kept[1:]
    assert unread(PromptWatch(), history, counted((SYSTEM, *kept))) is not None
