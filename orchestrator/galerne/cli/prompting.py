"""Questions of a job, asked there and then of whoever sits at the terminal.

    a question is open ──▶ the tree stands still, the question is printed, a line is read
        y, n, n REASON, an answer ──▶ sent, and said what stands
        an empty line             ──▶ left for later, with the command that settles it
        settled by another, job over ──▶ the prompt is withdrawn

What was typed before a question came up is not an answer to it.
"""

import os
import sys
import termios

import anyio

from galerne.cli.output import note, say
from galerne.cli.questions import (
    asked_text,
    decided_text,
    me,
    name_of,
    settle_text,
    value_of,
)
from galerne.cli.screen import Screen
from galerne.client import Job
from galerne.core.asks import AskKey
from galerne.core.open_question import Word
from galerne.core.view import JobView
from galerne.errors import GalerneError, InvalidInputError
from galerne.messages.facts import Asked, Question, Verdict

_PROMPTS: dict[Question, str] = {
    "approval": "agree? y, n or n REASON (Enter: later) ",
    "doubt": "has it happened? y or n (Enter: later) ",
    "question": "your answer (Enter: later) ",
    "review": "carry it out? y, n or n REASON (Enter: later, `galerne review` can change it) ",
}
_VERDICTS: dict[Question, tuple[Verdict, Verdict]] = {
    "approval": ("approved", "denied"),
    "doubt": ("happened", "not_happened"),
    "review": ("approved", "denied"),
}
_READ = 65_536


def is_at_a_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def word_of(ask: Asked, line: str, by: str) -> Word | None:
    """What a typed line says; None: later. Raises InvalidInputError where it says nothing."""
    text = line.strip()
    if not text:
        return None
    if ask.what == "question":
        return Word("answered", value_of(text, ask.output), by=by)
    yes, no = _VERDICTS[ask.what]
    first, _, rest = text.partition(" ")
    match first.lower().rstrip(":,"):
        case "y" | "yes" if not rest:
            return Word(yes, by=by)
        case "n" | "no":
            return Word(no, why=rest.strip(), by=by)
        case _:
            raise InvalidInputError("write y or n, or press Enter to leave it for later")


class Prompter:
    """Asks, one question at a time; `look` tells it how the job stands."""

    def __init__(self, job: Job, screen: Screen) -> None:
        self._job = job
        self._screen = screen
        self._open: dict[AskKey, Asked] = {}
        self._asked: set[AskKey] = set()
        self._now: tuple[AskKey, anyio.CancelScope] | None = None
        self._news = anyio.Event()
        self._typed = b""

    def look(self, view: JobView) -> None:
        self._open = {(ask.task, ask.n, ask.round): ask for ask in view.asks}
        if self._now is not None and self._now[0] not in self._open:
            self._now[1].cancel()
        self._news.set()

    async def run(self) -> None:
        """Until it is cancelled, or nobody types any more."""
        while True:
            key = next((key for key in self._open if key not in self._asked), None)
            if key is None:
                await self._news.wait()
                self._news = anyio.Event()
                continue
            self._asked.add(key)
            with self._screen.paused(), anyio.CancelScope() as scope:
                self._now = (key, scope)
                if not await self._ask(self._open[key]):
                    return
            if scope.cancelled_caught:
                say("\n(settled meanwhile)")
            self._now = None

    async def _ask(self, ask: Asked) -> bool:
        """Whether somebody is there still."""
        say(asked_text(ask))
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
        self._typed = b""
        by = me()
        while True:
            line = await self._line(_PROMPTS[ask.what])
            try:
                word = None if line is None else word_of(ask, line, by)
            except InvalidInputError as error:
                note(str(error))
                continue
            if word is None:
                say(f"left open: {settle_text(self._job.id, name_of(ask), ask.what)}")
                return line is not None
            self._now = None  # from here on it is this word that settles it
            await self._say(ask, word)
            return True

    async def _say(self, ask: Asked, word: Word) -> None:
        try:
            stands = await self._job.decide(
                name_of(ask), word.verdict, value=word.value, why=word.why, by=word.by
            )
        except GalerneError as error:
            note(str(error))
        else:
            say(decided_text(stands))

    async def _line(self, prompt: str) -> str | None:
        """One line of the terminal, None at its end. It can be cancelled, unlike `input`."""
        sys.stderr.write(prompt)
        sys.stderr.flush()
        descriptor = sys.stdin.fileno()
        while b"\n" not in self._typed:
            await anyio.wait_readable(descriptor)
            piece = os.read(descriptor, _READ)
            if not piece:
                return None
            self._typed += piece
        line, _, self._typed = self._typed.partition(b"\n")
        return line.decode(errors="replace")
