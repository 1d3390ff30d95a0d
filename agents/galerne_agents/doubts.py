"""What makes an answer doubtful that can be used, and what its model is asked then: data to data.

    states numbers that no result says ▸ gives one of several results as it stands ▸ is asked how
    many, and has no number ▸ is asked which, and only denies where no result denies anything

It is asked back once. What comes then is taken where it is no worse, with the numbers that no
result says named beside it (`core.grounding`): a larger model costs twenty times as much, and a
mark says what is to be checked.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from galerne.core.grounding import Sources, unsupported
from galerne.core.refs import parsed
from galerne.planner import as_text, one_line
from galerne_agents.checks import WORDS, Accepted, Evidence, Fault

DOUBT: Final = (
    "No result of a tool says {}, so it may be wrong. Look at the results again, work it out step"
    " by step, and give your whole answer anew, without a word about this."
)
REPEATS: Final = (
    "This only repeats the result of task {}. Look at everything that has been found, do your task"
    " with all of it, and answer in a sentence."
)
REPEATS_BUT_LOOKED: Final = (
    "This only repeats the result of task {}. Your last call has said: {}\nDo your task with that,"
    " and answer in a sentence."
)
ECHO: Final = "the model repeats what it was told"
ECHOED: Final = 60
"""Characters of what it was told by which that is known."""
SAID: Final = 300
"""Characters of what the last call has said, and of an answer that only denies."""
HOW_MANY: Final = (
    "The goal asks for a number, too, and your answer has none. Give the whole answer anew, with"
    " that number, or with the words that no result says it."
)

DENIES: Final = (
    'No result says "{}". The last one says: {}\nGive the whole answer anew, with what it says.'
)

_HEADING = re.compile(r"\A(?:##? [^\n]*\n)+")
_ASKS_HOW_MANY = re.compile(
    r"\b(?:how (?:many|much)|combien|wie ?viele?|cu[aá]nt[oa]s?|quant[oiae])\b", re.IGNORECASE
)
_QUOTED = re.compile(
    r""""[^"]{0,300}"|[“„][^“”]{0,300}[“”]|«[^»]{0,300}»|`[^`]{0,300}`|(?<!\w)'[^']{0,300}'(?!\w)"""
)
_NUMBER = re.compile(
    r"[0-9]|\b(?:none|no|nothing|zero|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    r"|\w+teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty(?:-\w+)?|dozen|hundred|thousand|million"
    r"|half|both|twice|single|(?:is|are|was|has|have|only|just|exactly|contains?|found) one(?! of)"
    r"|kein(?:e[nrs]?)?|null|zwei|drei|vier|f[uü]nf|sechs|sieben|acht|neun|zehn|elf|zw[oö]lf"
    r"|aucune?|z[eé]ro|deux|trois|quatre|cinq|sept|huit|neuf|dix|onze|douze"
    r"|ning[uú]n[oa]?|cero|dos|tres|cuatro|cinco|seis|siete|ocho|nueve|diez|doce"
    r"|nessun[oa]?|tre|quattro|cinque|sei|sette|otto|nove|dieci|nenhuma?|dois|duas|tr[eê]s"
    r"|not|cannot|unknown|unclear|nicht|unbekannt|inconnue?s?)\b|n['\u2019]t\b|\A\W*one\b",
    re.IGNORECASE,
)
"""A number, or that there is none, or that nobody knows."""
_DIGIT = re.compile(r"[0-9]")
_ASKS_WHICH = re.compile(
    r"\b(?:which|who|whom|whose|what|where|when|welche[rsmn]?|wer|wen|was|wo|wann|quel(?:le)?s?|qui"
    r"|o[uù]|quand|cu[aá]l(?:es)?|qui[eé]n(?:es)?|qu[eé]|d[oó]nde|cu[aá]ndo|quale|quali|chi|dove"
    r"|quando|qual|quem|onde)\b",
    re.IGNORECASE,
)
_DENIAL = re.compile(
    r"(?<![\w/.-])(?:not|never|no|none|nobody|nothing|neither|nor|cannot|without|nicht|nie|kein\w{0,2}"
    r"|weder|ohne|ne|pas|jamais|aucune?|ni|sans|nunca|ning[uú]n[oa]?|nada|nadie|non|nessun[oa]?"
    r"|niente|n[aã]o|nenhuma?)(?![\w/-])(?: \w{1,20})?|\b\w{1,12}n['\u2019]t\b(?: \w{1,20})?",
    re.IGNORECASE,
)
"""With the word behind it."""
_CONTRAST = re.compile(
    r"[,;] (?:and |und |et |y |e )?(?:not|nicht|pas|non?|n[aã]o)\b", re.IGNORECASE
)
"""`b.txt, not a.txt` says which."""
_SENTENCE_END = re.compile(r"[.!?](?=\s)|\n")
_EMPTY = re.compile(
    r"\[\]|\{\}|\b(?:null|false|failed|error)\b|(?<![\w.])0(?![\w.])", re.IGNORECASE
)
"""In a result, what there was nothing of."""
_MARKED = re.compile(r"\[([A-Za-z0-9_, -]{1,200})\]")


def weighed(value: Any, evidence: Evidence) -> Accepted:
    """An answer without a fault, beside what it was built on.

    Where there was nothing to look at, all of it is the model's own word, and nothing is said. A
    number that an earlier task has judged or rated is not asked about again: it is repeated.
    """
    if not evidence.found:
        return Accepted(value)
    sources = Sources((*evidence.results.values(), *evidence.calls), evidence.words)
    said = _without_marks(value, evidence.results) if isinstance(value, str) else value
    numbers = unsupported(said, sources, evidence.doubtful)
    asks = numbers and (sources.have_figures or (evidence.closing and unsupported(said, sources)))
    return Accepted(value, numbers, DOUBT.format(", ".join(numbers)) if asks else "")


def not_repeated(answer: Accepted, evidence: Evidence) -> Accepted:
    """An executor's: what it was given is, as it stood, seldom what its task wants.

    Where that is all it has found, or its own calls have said the same, it may well be; so may an
    empty one, and a value of the form that its task asks for (a text's is not read).
    """
    said = _opened(answer.value)
    others = len(evidence.results) - 1 + len(evidence.calls)
    if answer.say or not others or not said or not isinstance(said, dict | list):
        return answer
    if any(_opened(one) == said for one in evidence.calls):
        return answer
    same = next((task for task, one in evidence.results.items() if _opened(one) == said), None)
    if same is None:
        return answer
    say = REPEATS.format(same)
    if evidence.calls:
        said_last = one_line(as_text(evidence.calls[-1]), SAID)
        say = REPEATS_BUT_LOOKED.format(same, said_last)
    return Accepted(answer.value, answer.unsupported, say)


def with_its_number(answer: Accepted, goal: str, results: Iterable[Any]) -> Accepted:
    """The job's: who is asked how many names a number, or says that there is none, or no word of
    it. Where no result has a number either, asking again would have one made up.
    """
    asks = isinstance(answer.value, str) and _ASKS_HOW_MANY.search(_QUOTED.sub(" ", goal))
    if answer.say or not asks or _NUMBER.search(answer.value):
        return answer
    if not any(isinstance(one, list) or _DIGIT.search(as_text(one)) for one in results):
        return answer
    return Accepted(answer.value, answer.unsupported, say=HOW_MANY)


def not_denied(answer: Accepted, goal: str, results: Iterable[Any]) -> Accepted:
    """The job's: who asks which, takes it that there is one.

    That there is none may well be, where a result denies something, or is empty; and an answer of
    which a sentence denies nothing, or a longer text, may deny this and that. A small model that is
    shown its denial repeats it.
    """
    text = answer.value if isinstance(answer.value, str) and len(answer.value) <= SAID else ""
    denial = _only_denial(_QUOTED.sub(" ", text))
    asks = _ASKS_WHICH.search(goal) and not _DENIAL.search(goal)
    results = [as_text(one) if one else "" for one in results]
    if answer.say or not asks or not denial or not results:
        return answer
    if any(not said or _EMPTY.search(said) or _DENIAL.search(said) for said in results):
        return answer
    say = DENIES.format(denial, one_line(results[-1], SAID))
    return Accepted(answer.value, (*answer.unsupported, denial), say, afresh=True)


def better(first: Accepted, second: Accepted | Fault) -> Accepted:
    """Of a usable answer and what came when it was asked back: the second, where it is not worse.

    A usable answer stays one, and one that states more of its own is no better.
    """
    if isinstance(second, Fault):
        return first
    had = len(first.unsupported)
    return first if had and len(second.unsupported) > had else second


def echoes(text: str, told: Iterable[str]) -> bool:
    """Whether an answer is made of what its model was told about an earlier one."""
    flat = one_line(text, WORDS)
    return any(one_line(one, ECHOED) in flat for one in (say[:ECHOED] for say in told))


def _only_denial(text: str) -> str:
    """The first word of denial, with the word behind it, where every sentence denies."""
    sentences = [one for one in _SENTENCE_END.split(text) if any(map(str.isalnum, one))]
    found = [_DENIAL.search(_CONTRAST.sub(" ", one)) for one in sentences]
    denials = [one[0] for one in found if one is not None]
    return denials[0] if denials and len(denials) == len(sentences) else ""


def _without_marks(text: str, tasks: Iterable[str]) -> str:
    """Without `[100]`, where that is a task."""
    known = frozenset(tasks)

    def kept(found: re.Match[str]) -> str:
        return " " if all(one.strip() in known for one in found[1].split(",")) else found[0]

    return _MARKED.sub(kept, text)


def _opened(value: Any) -> Any:
    """What stands in a text as JSON, also under the heading that it had in the prompt."""
    return parsed(_HEADING.sub("", value) if isinstance(value, str) else value)
