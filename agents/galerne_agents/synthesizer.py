"""The agent that writes a job's answer from the results of its tasks.

    ask ─▶ text ─▶ the answer, each statement with the task that it comes from: [2]
     ▲      ├─ a fault, or numbers that no result says: told once
     │      ├─ MISSING: …: where another revision may be had, the job gets one
     │      └─ the same with our example's words, or no words: asked anew without that way out
     └── the same request, with what was wrong

The text is streamed for whoever watches. With an output schema the answer is JSON of that form, and
cites nothing.
"""

import re
from typing import Any, ClassVar, Final

import msgspec

from galerne.agent import TaskContext
from galerne.errors import BudgetExhaustedError, IncompleteError, ModelError, PermanentError
from galerne.messages.chat import ChatMessage, ChatReply, ChatRequest
from galerne.messages.facts import Lane, Ready
from galerne.messages.plan import TaskKind
from galerne.planner import answer_request, one_line
from galerne_agents.checks import Accepted, Evidence, Fault, judged
from galerne_agents.doubts import ECHO, better, echoes, not_denied, weighed, with_its_number
from galerne_agents.longer import ask_longer

MISSING: Final = 500
"""Characters of what is missing."""
WORD: Final = "MISSING:"
"""How an answer begins that is none."""
EXAMPLE: Final = "the year in which each of the two bridges was built"
"""What the prompt's example lacks, which small models copy."""
_MARK = re.compile(
    r"(?:[ \t]|(?<!\w))\[([A-Za-z0-9_-]{1,64}(?:\s*,\s*[A-Za-z0-9_-]{1,64})*)\](?!\()"
)
_NUMBER = re.compile(r"[0-9]{1,3}")
_GIVES = re.compile(r"(?:[=:→>]|\b(?:is|are|was|returns?|gives?|list|array|result|output))\s*\Z")
_BEFORE = 12
"""Characters before a mark in which such a word stands."""
_WANTS_MORE = msgspec.json.Decoder(dict[str, Any])


class SynthesizerAgent:
    """Writes the closing text. `ready.inputs`: task id → `{"instruction": text, "value": JSON}`."""

    lane: ClassVar[Lane] = "planner"
    kinds: ClassVar[frozenset[TaskKind]] = frozenset({"answer"})

    async def run(self, context: TaskContext) -> Any:
        """The text, or the value of the job's output schema, and what of it no result says.

        Raises IncompleteError where the results do not suffice and more may be had,
        PermanentError when the model says nothing, or nothing usable twice.
        """
        ready = context.ready
        request = _request(context, more=ready.more)
        # Streamed, although nobody reads here: the runtime shows the text live as it arrives.
        reply = await ask_longer(context, request, _ignore)
        if ready.more and _copies(reply.message.content):
            request = _request(context, more=False)
            reply = await ask_longer(context, request, _ignore)
        verdict = _judged(ready, reply)
        if verdict.say:
            again = _again(request, reply, verdict.say)
            if isinstance(verdict, Accepted):
                again = _again(request, None, verdict.say) if verdict.afresh else again
                verdict = await _asked_back(context, again, verdict)
            else:
                verdict = _judged(ready, await ask_longer(context, again, _ignore), verdict.say)
        if isinstance(verdict, Fault):
            raise PermanentError(
                f"the model's final answer could not be used ({verdict.reason}); run the job again"
            )
        return verdict.result


def _request(context: TaskContext, *, more: bool) -> ChatRequest:
    ready = context.ready
    return answer_request(
        ready.goal,
        ready.inputs,
        ready.history,
        more=more,
        output=ready.task.output,
        prompts=context.prompts,
    )


def _copies(text: str) -> bool:
    """Whether it says that something is missing, and names nothing of its own."""
    said = _word_of_missing(text)
    return said is not None and (said.strip() == EXAMPLE or not said.strip(". …"))


async def _asked_back(context: TaskContext, again: ChatRequest, first: Accepted) -> Accepted:
    """The better of the two; the first where the budget or the context has no room to ask."""
    try:
        reply = await context.ask(again, _ignore)
    except (BudgetExhaustedError, ModelError):
        return first
    return better(first, _judged(context.ready, reply, first.say))


def _judged(ready: Ready, reply: ChatReply, told: str = "") -> Accepted | Fault:
    """`told` is what the model was asked back with. Raises IncompleteError."""
    if told and echoes(reply.message.content, [told]):
        return Fault(ECHO, "")
    if ready.more and (missing := _missing(reply.message.content)) is not None:
        raise IncompleteError(missing)
    verdict = judged(ready.task, reply, Evidence())
    if isinstance(verdict, Fault) and verdict.reason.startswith("the model gave up"):
        verdict = Accepted(reply.message.content.strip())  # the results may say just that
    if isinstance(verdict, Fault):
        return verdict
    if ready.task.output is None:
        verdict = Accepted(without_strangers(verdict.value, ready.task.needs))
    evidence = _evidence(ready)
    answer = weighed(verdict.value, evidence)
    answer = with_its_number(answer, ready.goal, evidence.results.values())
    return not_denied(answer, ready.goal, evidence.results.values())


def _evidence(ready: Ready) -> Evidence:
    """The plan's results, and what was said before in the same conversation."""
    numbers = [number for one in ready.inputs.values() for number in one.get("unsupported", ())]
    return Evidence(
        results={task: one.get("value") for task, one in ready.inputs.items()},
        words=(ready.goal, *(text for turn in ready.history for text in (turn.goal, turn.answer))),
        doubtful=tuple(numbers),
        closing=True,
    )


def _again(request: ChatRequest, reply: ChatReply | None, say: str) -> ChatRequest:
    """`reply` None: as if it had not answered yet."""
    said = "" if reply is None else reply.message.content
    turns = (ChatMessage("assistant", said),) if said.strip() else ()
    why = ChatMessage("user", say)
    return msgspec.structs.replace(request, messages=(*request.messages, *turns, why))


def _missing(text: str) -> str | None:
    """What the model says is still to be found out; None: it answers."""
    said = _word_of_missing(text)
    return one_line(said, MISSING) if said is not None and said.strip() else None


def _word_of_missing(text: str) -> str | None:
    """After the word that the prompt asks for; or in JSON, as prompts of deployments may ask."""
    plain = text.strip().strip("`").strip()
    if plain.startswith(WORD):
        return plain.removeprefix(WORD)
    try:
        said = _WANTS_MORE.decode(plain.removeprefix("json"))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    missing = said.get("missing")
    return missing if isinstance(missing, str) and len(said) == 1 else None


def without_strangers(text: str, tasks: tuple[str, ...]) -> str:
    """The text without marks like `[9]` for tasks that there are none of.

    Only short numbers count as marks of tasks that are not there: other words are text. Several of
    which none is a task are a list of numbers, and so is one that something is said to be.
    """

    def kept(found: re.Match[str]) -> str:
        names = [name.strip() for name in found[1].split(",")]
        known = [name for name in names if name in tasks]
        if len(known) == len(names) or not all(map(_NUMBER.fullmatch, names)):
            return found[0]
        before = text[max(0, found.start() - _BEFORE) : found.start()]
        if not known and (len(names) > 1 or _GIVES.search(before)):
            return found[0]
        return f" [{', '.join(known)}]" if known else ""

    return _MARK.sub(kept, text) if tasks else text


def _ignore(_text: str) -> None:
    """Nothing to do with the pieces."""
