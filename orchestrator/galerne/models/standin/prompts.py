"""Reading the prompts of Galerne's agents out of a chat request, and nothing else.

The role is the first line of the system message. A user message is made of sections: a heading
`# Name` alone on its line, then text; some hold parts under `## name`. Lines of users and tools
that begin with `#` come escaped with one backslash, which is taken off here, so a goal or a file
can never pass for a heading.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from galerne.messages.chat import ChatMessage, ChatRequest

Role = Literal["planner", "executor", "answer", "summary", "other"]

FIRST_LINES: dict[str, Role] = {
    "You plan a job for a fleet of executors.": "planner",
    "You carry out one task of a larger job.": "executor",
    "You write the final answer of a job.": "answer",
    "You sum up the older part of a conversation.": "summary",
}

_ESCAPED = re.compile(r"(^|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])\\(?=#)")
_SIZE = re.compile(r" \(a list of [0-9]+\)$")
_TOOL_LINE = re.compile(r"^- ([A-Za-z0-9_-]{1,64})\(")


class Part(msgspec.Struct, frozen=True):
    """A `##` section: its heading and its text, unescaped."""

    title: str
    text: str


def role_of(messages: Sequence[ChatMessage]) -> Role:
    """Whose prompt this is; `other` for a conversation that is not Galerne's."""
    system = next((message for message in messages if message.role == "system"), None)
    first_line = system.content.split("\n", 1)[0].strip() if system else ""
    return FIRST_LINES.get(first_line, "other")


def section(request: ChatRequest, title: str) -> str:
    """The text of a section of the first user message, unescaped; empty where it is missing."""
    return unescape(_raw_section(_first(request, "user"), title)).strip("\n")


def parts(request: ChatRequest, title: str) -> tuple[Part, ...]:
    """The `##` parts of a section of the first user message, in order; a title has no size."""
    cut = _cut(_raw_section(_first(request, "user"), title), "## ")
    return tuple(
        Part(unescape(_SIZE.sub("", name)), unescape(text).strip("\n"))
        for name, text in cut
        if name
    )


def json_lines(request: ChatRequest, title: str) -> tuple[dict[str, Any], ...]:
    """The JSON objects of a section, one a line; a line that is none is passed over."""
    found: list[dict[str, Any]] = []
    for line in section(request, title).split("\n"):
        try:
            found.append(msgspec.json.decode(line, type=dict[str, Any]))
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            continue
    return tuple(found)


def listed_tools(request: ChatRequest) -> frozenset[str]:
    """The names in the `# Tools` section of the planner's system message."""
    lines = _raw_section(_first(request, "system"), "Tools").split("\n")
    return frozenset(match.group(1) for line in lines if (match := _TOOL_LINE.match(line)))


def unescape(text: str) -> str:
    """The text as its writer wrote it: one backslash less before a `#` at the start of a line."""
    return _ESCAPED.sub(r"\1", text)


def _first(request: ChatRequest, role: str) -> str:
    return next((m.content for m in request.messages if m.role == role), "")


def _raw_section(text: str, title: str) -> str:
    return next((body for name, body in _cut(text, "# ") if name == title), "")


def _cut(text: str, mark: str) -> Iterator[tuple[str, str]]:
    """(heading, body) pairs; what stands before the first heading has an empty one."""
    name, body = "", list[str]()
    for line in text.split("\n"):
        if line.startswith(mark):
            yield name, "\n".join(body)
            name, body = line[len(mark) :].strip(), []
        else:
            body.append(line)
    yield name, "\n".join(body)
