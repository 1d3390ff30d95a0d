"""Requests as Galerne's agents write them, and a fleet of one that plays a whole job by hand."""

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec

from galerne.messages.chat import ChatMessage, ChatRequest, ToolCall, ToolSchema
from galerne.models.standin.answers import Answer, CallTools, Say
from galerne.models.standin.rules import respond

PLANNER = "You plan a job for a fleet of executors."
EXECUTOR = "You carry out one task of a larger job."
ANSWER = "You write the final answer of a job."

Ask = Callable[[ChatRequest], Answer]


def schema(name: str, required: Sequence[str], optional: Sequence[str] = ()) -> ToolSchema:
    properties = {parameter: {"type": "string"} for parameter in (*required, *optional)}
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return ToolSchema(name, f"The tool {name}.", parameters)


TOOLS = {
    tool.name: tool
    for tool in (
        schema("list_files", [], ["path", "pattern"]),
        schema("read_file", ["path"], ["start_line", "max_lines"]),
        schema("search_files", ["text"], ["path", "pattern", "max_matches"]),
        schema("text_stats", ["path"]),
        schema("calculate", ["expression"]),
    )
}


def escaped(text: str) -> str:
    return re.sub(r"^#", r"\\#", text, flags=re.MULTILINE)


def planner_request(
    goal: str,
    tools: Sequence[str] = tuple(TOOLS),
    already: Sequence[str] = (),
    rejected: Sequence[Mapping[str, Any]] = (),
) -> ChatRequest:
    listed = "\n".join(f"- {name}(path: string): does it" for name in tools)
    user = f"# Goal\n{escaped(goal)}\n"
    if already:
        user += "\n# Already planned\n" + "\n".join(already) + "\n"
    if rejected:
        lines = (msgspec.json.encode(line).decode() for line in rejected)
        user += "\n# Rejected\n" + "\n".join(lines) + "\n"
    system = f"{PLANNER}\nRules.\n# Tools\n{listed}"
    return ChatRequest((ChatMessage("system", system), ChatMessage("user", user)))


def executor_request(
    instruction: str,
    results: Mapping[str, str] | None = None,
    tools: Sequence[str] = tuple(TOOLS),
    turns: Sequence[ChatMessage] = (),
) -> ChatRequest:
    user = f"# Goal of the job\nthe goal\n\n# Task\n{escaped(instruction)}"
    if results:
        user += "\n\n# Results"
        user += "".join(f"\n\n## {name}\n{escaped(text)}" for name, text in results.items())
    opening = (ChatMessage("system", f"{EXECUTOR}\nRules."), ChatMessage("user", user))
    return ChatRequest((*opening, *turns), tuple(TOOLS[name] for name in tools))


def answer_request(goal: str, results: Mapping[str, str]) -> ChatRequest:
    parts = "".join(f"\n\n## {title}\n{escaped(text)}" for title, text in results.items())
    user = f"# Goal\n{escaped(goal)}\n\n# Results{parts}"
    return ChatRequest((ChatMessage("system", f"{ANSWER}\nRules."), ChatMessage("user", user)))


def plan_of(answer: Answer) -> list[dict[str, Any]]:
    assert isinstance(answer, Say)
    return [msgspec.json.decode(line) for line in answer.text.split("\n") if line]


class Folder:
    """The tools over a real folder, measured with plain Python."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def use(self, tool: str, arguments: dict[str, Any]) -> str:
        """What a model reads in the tool's turn: JSON, text, or `Error: …`."""
        self.calls.append((tool, arguments))
        try:
            value = getattr(self, f"_{tool}")(**arguments)
        except OSError as error:
            return f"Error: {error.strerror}"
        except ZeroDivisionError:
            return "Error: division by zero"
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()

    def stats(self, path: str) -> dict[str, Any]:
        data = (self._root / path).read_bytes()
        text = data.decode()
        return {
            "path": path,
            "words": len(text.split()),
            "lines": len(text.splitlines()),
            "characters": len(text),
            "bytes": len(data),
        }

    _text_stats = stats

    def _list_files(self, path: str = ".", pattern: str = "*") -> list[str]:
        found = (self._root / path).glob(pattern)
        return sorted(str(each.relative_to(self._root)) for each in found if each.is_file())

    def _read_file(self, path: str, start_line: int = 1, max_lines: int = 200) -> str:
        lines = (self._root / path).read_text().splitlines(keepends=True)
        return "".join(lines[start_line - 1 : start_line - 1 + max_lines])

    def _search_files(
        self, text: str, path: str = ".", pattern: str = "*", max_matches: int = 50
    ) -> list[dict[str, Any]]:
        place = self._root / path
        paths = self._list_files(path, pattern) if place.is_dir() else [path]
        return [
            {"path": one, "line": number, "text": line}
            for one in paths
            for number, line in enumerate((self._root / one).read_text().splitlines(), 1)
            if text in line
        ][:max_matches]

    def _calculate(self, expression: str) -> dict[str, Any]:
        exact = re.sub(r"\d+", lambda number: f"Fraction({number[0]})", expression)
        assert re.fullmatch(r"[\d\s+\-*/()]+", expression), expression
        return {"expression": expression, "value": str(eval(exact, {"Fraction": Fraction}))}


def carry_out(task: Mapping[str, Any], results: Mapping[str, str], folder: Folder, ask: Ask) -> str:
    """One task to its value, with as many turns as the executor takes."""
    if task["kind"] == "tool":
        return folder.use(task["tool"], task["args"])
    needed = {name: results[name] for name in task["needs"]}
    turns: list[ChatMessage] = []
    for _ in range(12):
        answer = ask(executor_request(task["instruction"], needed, task["tools"], turns))
        if isinstance(answer, Say):
            return answer.text
        turns += tool_turns(answer, folder, len(turns))
    raise AssertionError("the executor does not come to an end")


def tool_turns(answer: CallTools, folder: Folder, seed: int) -> list[ChatMessage]:
    calls = [
        ToolCall(f"call{seed:02}{n:03}", use.tool, msgspec.json.encode(use.arguments).decode())
        for n, use in enumerate(answer.uses)
    ]
    results = [
        ChatMessage("tool", folder.use(use.tool, use.arguments), tool_call_id=call.id)
        for call, use in zip(calls, answer.uses, strict=True)
    ]
    return [ChatMessage("assistant", tool_calls=tuple(calls)), *results]


def play(goal: str, folder: Folder, ask: Ask = respond) -> tuple[dict[str, str], str]:
    """Planner, executors, answer: the value of each task, and the job's closing answer."""
    results: dict[str, str] = {}
    headings: dict[str, str] = {}
    for task in plan_of(ask(planner_request(goal))):
        results[task["id"]] = carry_out(task, results, folder, ask)
        headings[f"{task['id']}: {task.get('instruction', '')}"] = results[task["id"]]
    answer = ask(answer_request(goal, headings))
    assert isinstance(answer, Say)
    return results, answer.text
