"""The template's rules: a tool conversation as Galerne sends it, then three breaches of them.

Only a refusal of Galerne's own form is a fault. Which breaches are refused shows how strict the
template is: `conversation.py` mends each of them before anything is sent.
"""

from collections.abc import Sequence

from galerne.messages.chat import ChatMessage, ChatReply
from galerne.models.conversation import obey_rules
from galerne.models.doctor.asking import HELLO, LONG_ID, WEATHER, WORD, called, chat
from galerne.models.doctor.exchange import Ask
from galerne.models.doctor.finding import well
from galerne.models.doctor.patient import Patient
from galerne.models.doctor.reading import Refused, advice, not_looked_at, read
from galerne.models.doctor.tools import Probe

_SYSTEM = ChatMessage("system", "Be brief.")
_THANKS = ChatMessage("user", "And in Brest?")
_BREACHES: dict[str, tuple[ChatMessage, ...]] = {
    "a user after a tool": (*called("a1B2c3D4e"), _THANKS),
    "a late system": (HELLO, ChatMessage("assistant", "Hello."), _SYSTEM, _THANKS),
    "ids not of 9": called(LONG_ID),
}


def rules(patient: Patient) -> Probe:
    """Four conversations; only the first one keeps the rules."""
    name = "role rules"
    good = obey_rules((_SYSTEM, *called(LONG_ID)))
    answer = yield _quietly(patient, good)
    match read(answer, patient):
        case Refused() as refused:
            return (not_looked_at(name, refused, advice("roles", patient)),)
        case ChatReply():
            pass
    refused_ones: list[str] = []
    as_failure = False
    for breach, messages in _BREACHES.items():
        said = read((yield _quietly(patient, messages)), patient)
        if isinstance(said, Refused) and said.status is not None:
            refused_ones.append(breach)
            as_failure = as_failure or said.status >= 500  # noqa: PLR2004 - a server's own failure
    if not refused_ones:
        return (well(name, "a tool conversation is taken; and so is what breaks Mistral's rules"),)
    how = " with status 500" if as_failure else ""
    listed = ", ".join(refused_ones)
    seen = f"a tool conversation is taken; refused{how}, and never sent: {listed}"
    return (well(name, seen),)


def _quietly(patient: Patient, messages: Sequence[ChatMessage]) -> Ask:
    """With the tool on offer and no call allowed: flags for calls must not matter here."""
    return chat(patient, messages, WORD, tools=(WEATHER,), choice="none")
