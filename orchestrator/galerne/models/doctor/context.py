"""The true context: how much of a long prompt the model really gets.

Two short prompts of numbered lines give the tokens of a line, in this model's own tokenizer. Then
one long prompt, with a password in its first line, is sent: where the usage is far under what its
lines must take, the server has cut it without a word. A prompt that is refused for its length
costs nothing, and a shorter one follows.
"""

import re
from collections.abc import Generator

import msgspec

from galerne.errors import DeadlineError
from galerne.messages.chat import ChatMessage, ChatReply
from galerne.models.doctor.asking import chat
from galerne.models.doctor.exchange import Answer, Ask
from galerne.models.doctor.finding import Finding, doubtful, well, wrong
from galerne.models.doctor.mending import mend
from galerne.models.doctor.patient import CONTEXT, Patient
from galerne.models.doctor.reading import Refused, advice, not_looked_at, read
from galerne.models.doctor.tools import Probe

_NAME = "context"
_SHORT, _LONGER = 2, 18
"""Lines of the two prompts that tell how many tokens a line has."""
_ANSWER = 16
_TRIES = 5
_LEAST = 256
_WHOLE = 0.95
"""Of the reckoned tokens: less than that was read, and the prompt was cut."""
_GUESS = 16.0
"""Tokens of a line where usage tells nothing; tokenizers give 13 to 19."""
_NUMBER = re.compile(r"\d[\d,_]*")
_STATUS = re.compile(r"^status \d+: ")
MOST_EXTRA = 1_000
"""Tokens of the two short prompts, and of a line of the long one reckoned wrongly, at most."""


class _Scale(msgspec.Struct, frozen=True):
    """Tokens of a prompt with `n` lines: `fixed + n * line`; `counted`: by the server's usage."""

    fixed: float
    line: float
    counted: bool

    def lines(self, tokens: int) -> int:
        return max(_SHORT, int((tokens - self.fixed - _ANSWER) / self.line))

    def tokens(self, lines: int) -> int:
        return round(self.fixed + lines * self.line)


def window(patient: Patient) -> Probe:
    """Ends at `subject.context` tokens, or at what the server says it has, whichever is less."""
    wanted = patient.subject.context or 0
    goal = min(wanted, patient.longest or wanted)
    scale = yield from _scale(patient)
    if isinstance(scale, Refused):
        return (not_looked_at(_NAME, scale, advice("answer", patient)),)
    limit: int | None = None
    for _ in range(_TRIES):
        lines = scale.lines(goal)
        match read((yield _prompt(patient, lines)), patient):
            case ChatReply() as reply:
                return (_judged(patient, reply, scale, lines, limit),)
            case Refused(error=DeadlineError(), words=words):
                tokens = scale.tokens(lines)
                seen = f"{tokens:,} tokens are not read in time: {words}"
                advised = f"run it with --context {max(goal // 4, _LEAST)}, or raise `timeout`"
                return (doubtful(_NAME, seen, advised),)
            case Refused() as refused if goal > _LEAST and refused.status is not None:
                limit = _named_limit(refused.words, goal)
                goal = max(_LEAST, limit if limit is not None else goal // 2)
                limit = limit or goal * 2
            case Refused() as refused:
                return (not_looked_at(_NAME, refused, _advice(patient)),)
    return (wrong(_NAME, f"every prompt down to {goal:,} tokens is refused", _advice(patient)),)


def _scale(patient: Patient) -> Generator[Ask, Answer, _Scale | Refused]:
    read_tokens: list[int] = []
    for lines in (_SHORT, _LONGER):
        said = read((yield _prompt(patient, lines)), patient)
        if isinstance(said, Refused):
            return said
        read_tokens.append(said.usage.prompt_tokens)
    line = (read_tokens[1] - read_tokens[0]) / (_LONGER - _SHORT)
    if line <= 1:  # no usage, or one that does not count
        return _Scale(4 * _GUESS, _GUESS, counted=False)
    return _Scale(read_tokens[0] - _SHORT * line, line, counted=True)


def _password(patient: Patient, lines: int) -> str:
    return f"{patient.subject.salt}{lines}"


def _prompt(patient: Patient, lines: int) -> Ask:
    """The password comes first, so that no cache of another prompt fits, and a cut hits it."""
    page = "\n".join(f"{n:05}. The tide at the old pier turns twice a day." for n in range(lines))
    text = (
        f"The password is {_password(patient, lines)}. Keep it in mind.\n{page}\n"
        "Which password stands in the first line? Answer with it alone."
    )
    return chat(patient, (ChatMessage("user", text),), _ANSWER)


def _judged(
    patient: Patient, reply: ChatReply, scale: _Scale, lines: int, limit: int | None
) -> Finding:
    sent, used = scale.tokens(lines), reply.usage.prompt_tokens
    found = _password(patient, lines) in reply.message.content
    if scale.counted and used < _WHOLE * sent:
        seen = f"cut without a word: of {sent:,} tokens it read {used:,}"
        return wrong(_NAME, seen, _advice(patient))
    if not scale.counted and not found:
        seen = f"the start of about {sent:,} tokens was lost, and no usage tells why"
        return doubtful(_NAME, seen, _advice(patient))
    memory = "" if found else "; it did not recall the first line: a weak model, or a long text"
    reckoned = f"{sent:,} tokens are read whole{memory}"
    wanted = min(patient.subject.context or CONTEXT, CONTEXT)
    top = limit or patient.longest
    if top is not None and top < wanted:
        seen = f"{reckoned}; more than {top:,} is refused, and long tasks need up to {wanted:,}"
        return doubtful(_NAME, seen, _advice(patient))
    if not found:
        return doubtful(_NAME, reckoned, "choose a larger model if long tasks go wrong")
    return well(_NAME, reckoned)


def _advice(patient: Patient) -> str:
    tokens = patient.subject.context or CONTEXT
    return mend("context", patient.dialect.name, patient.endpoint.model, tokens)


def _named_limit(words: str, goal: int) -> int | None:
    """The limit that a refusal names: its largest number that is well under the prompt's length."""
    named = [int(re.sub(r"[,_]", "", number)) for number in _NUMBER.findall(_STATUS.sub("", words))]
    return max((number for number in named if _LEAST <= number < _WHOLE * goal), default=None)
