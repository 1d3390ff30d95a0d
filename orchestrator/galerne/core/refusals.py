"""What a tool worker says in words, as a log keeps it and a model reads it: one line, bounded.

A worker may be anybody's, in any language. What it says of a refusal or of a question becomes a
fact, a line of a terminal and a part of a prompt, so it is cut where it comes in.
"""

from typing import Final, TypeVar

import msgspec

from galerne.core.printable import printable_line
from galerne.messages.ids import is_id
from galerne.messages.tools import NeedsApproval, ToolRefused, ToolResult

LONGEST: Final = 2_000
"""Characters of a refusal: a model reads them all, and pays for them."""

Answer = TypeVar("Answer", bound=ToolResult | ToolRefused | NeedsApproval)


def sentence(text: str) -> str:
    """One printable line of at most `LONGEST` characters."""
    return printable_line(text, LONGEST)


def refusal(code: str, message: str) -> ToolRefused:
    """A refusal whose message is a `sentence`; a code that is no word becomes `tool`."""
    return ToolRefused(code=code if is_id(code) else "tool", message=sentence(message))


def bounded(answer: Answer) -> Answer:
    """The answer with its words cut; values and their content are measured where they are kept."""
    if isinstance(answer, ToolRefused):
        cut = refusal(answer.code, answer.message)
        return msgspec.structs.replace(answer, code=cut.code, message=cut.message)
    if isinstance(answer, NeedsApproval):
        return msgspec.structs.replace(answer, why=sentence(answer.why))
    return answer
