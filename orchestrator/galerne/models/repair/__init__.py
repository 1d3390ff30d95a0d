"""Tool calls that a model, or a server with the wrong flags, wrote as text.

`parse_calls` reads a whole answer once: what Mistral's marker or another family's tag begins,
a message that is nothing but calls, or fenced blocks that are. It takes a call only where it is
whole and certain; everything else is named in the result, so that the model can be asked again
with the reason, and none of its markup stays in the content. `mend_call` reads one that came as a
call but not as it was meant, `values_in` the JSON value that an answer is. `LeakGuard` stands
before whoever watches a streamed answer: it lets text pass until something may be the beginning of
a call. What a model only thinks (`without_thinking`) is neither.

Pure: text in, data out. Work grows with the length of the text, whatever the text holds.
"""

from galerne.models.repair.guard import LeakGuard
from galerne.models.repair.native import mend_call
from galerne.models.repair.parse import may_call, parse_calls
from galerne.models.repair.parsed import BrokenCall, FoundCall, Parsed, Syntax, tool_calls
from galerne.models.repair.thinking import ThinkingFilter, without_thinking
from galerne.models.repair.values import Candidate, values_in

__all__ = [
    "BrokenCall",
    "Candidate",
    "FoundCall",
    "LeakGuard",
    "Parsed",
    "Syntax",
    "ThinkingFilter",
    "may_call",
    "mend_call",
    "parse_calls",
    "tool_calls",
    "values_in",
    "without_thinking",
]
