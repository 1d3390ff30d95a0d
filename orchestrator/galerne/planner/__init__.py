"""The planner: from a goal to a graph of tasks. Usable in any service, without a bus.

    planner = Planner("http://localhost:11434", model="mixtral-8x22b")
    async with planner.open("Compare the files", tools) as tasks:
        async for task in tasks:    # each the moment the model has written it
            ...

`PlanReader` does the same for text from elsewhere, and `check_task` for one object.
"""

from galerne.core.one_line import one_line
from galerne.planner.bounds import Bounds, Spend
from galerne.planner.check import MAX_TASKS, check_task
from galerne.planner.conversation import Ask, PlanBrief, Planning, converse
from galerne.planner.costs import Costs, ModelCosts, costs_of
from galerne.planner.estimate import Estimate, estimate
from galerne.planner.figures import figures_section
from galerne.planner.given import AnyTool, HasSpec, tool_specs
from galerne.planner.kinds import MAX_INSTRUCTION
from galerne.planner.objects import BrokenObject, JsonObject, ObjectScanner
from galerne.planner.plan import Plan
from galerne.planner.planner import (
    Connect,
    Model,
    Planner,
    PlanStream,
    TaskStream,
    no_task,
)
from galerne.planner.prompt import answer_request, planner_request, summary_request, task_line
from galerne.planner.prompts import Prompts, prompts_of
from galerne.planner.reader import PlanReader
from galerne.planner.reckoning import Assumptions, TaskEstimate
from galerne.planner.refs import referenced_tasks
from galerne.planner.sections import as_text, escaped, messages, section, size_text

__all__ = [
    "Planner",
    "PlanStream",
    "TaskStream",
    "Plan",
    "estimate",
    "Estimate",
    "TaskEstimate",
    "Bounds",
    "Spend",
    "Costs",
    "ModelCosts",
    "costs_of",
    "Assumptions",
    "PlanReader",
    "PlanBrief",
    "Planning",
    "Prompts",
    "prompts_of",
    "converse",
    "Ask",
    "Connect",
    "Model",
    "HasSpec",
    "AnyTool",
    "tool_specs",
    "planner_request",
    "answer_request",
    "summary_request",
    "task_line",
    "check_task",
    "no_task",
    "MAX_TASKS",
    "MAX_INSTRUCTION",
    "ObjectScanner",
    "JsonObject",
    "BrokenObject",
    "referenced_tasks",
    "section",
    "size_text",
    "messages",
    "escaped",
    "figures_section",
    "as_text",
    "one_line",
]
