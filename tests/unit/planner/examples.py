"""Tools and tasks that the planner's tests share."""

from typing import Any

from galerne.messages.ids import TaskId
from galerne.messages.plan import TaskSpec
from galerne.messages.tools import ToolSpec


def parameters(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


READ_FILE = ToolSpec(
    name="read_file",
    description="Read lines of a text file. Lines count from 1.",
    parameters=parameters(
        ["path"],
        path={"type": "string"},
        start_line={"type": "integer", "default": 1},
        max_lines={"type": "integer", "default": 200},
    ),
)
TEXT_STATS = ToolSpec(
    name="text_stats",
    description="Count words, lines, characters and bytes of a file.",
    parameters=parameters(["path"], path={"type": "string"}),
)
CALCULATE = ToolSpec(
    name="calculate",
    description="Evaluate arithmetic exactly, e.g. 1/3 + 2.\n\nMore about it.",
    parameters=parameters(["expression"], expression={"type": "string"}),
)
TOOLS = (READ_FILE, TEXT_STATS, CALCULATE)


def agent_task(task: str, instruction: str = "do it", *needs: str) -> TaskSpec:
    return TaskSpec(id=TaskId(task), instruction=instruction, needs=tuple(map(TaskId, needs)))


def tool_task(task: str, tool: str, args: dict[str, Any], *needs: str) -> TaskSpec:
    return TaskSpec(
        id=TaskId(task), kind="tool", tool=tool, args=args, needs=tuple(map(TaskId, needs))
    )
