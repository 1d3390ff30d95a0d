"""Carry a goal out inside this program: no bus, no server, no files, nothing stored.

GALERNE_PLANNER_ENDPOINT=http://127.0.0.1:11434 python examples/in_process.py

Without that variable the stand-in answers, which follows rules and has no LLM. The scheduler and
the agents are the fleet's own; `await galerne.run(…)` in a notebook is the same.
"""

from pathlib import Path

import anyio

import galerne


def text_stats(path: str) -> dict[str, int]:
    """Count the words and lines of a text file.

    Args:
        path: The file.
    """
    text = Path(path).read_text(encoding="utf-8")
    return {"words": len(text.split()), "lines": text.count("\n")}


async def main() -> None:
    """Run one goal, and show what it took."""
    result = await galerne.run(
        "Count the words in README.md and in LICENSE, then say which is longer",
        tools=[text_stats],
        budget=galerne.Budget(usd=0.05),
        stand_in=True,
    )
    for task in result.tasks:
        print(f"{task.id:8} {task.status:10} {task.instruction}")
    print(f"{result.usage.model_calls} model calls, ${result.cost:.4f}", result.answer, sep="\n")


if __name__ == "__main__":
    anyio.run(main)
