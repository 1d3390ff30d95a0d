"""What all tasks of one run share: the job, its facts, its models, agents and tools."""

import random
from collections.abc import Callable, Mapping
from typing import Final

import anyio

from galerne.agent import Agent
from galerne.core.rules import Rules
from galerne.core.usage import step_usage
from galerne.errors import InvalidSettingsError
from galerne.local.blobs import MemoryBlobs
from galerne.local.log import LocalLog
from galerne.local.watching import OnProgress, OnText
from galerne.messages.facts import JobSpec, Lane, Ready, Step
from galerne.messages.ids import TaskId
from galerne.messages.plan import Usage
from galerne.models.ladder import Ladder
from galerne.planner.prompts import prompts_of
from galerne.settings import Settings, retry_policies
from galerne.tools import AnyTool

ME: Final = "in-process"
"""Who claims the tasks, and writes their outcomes."""


class Work:
    """One run's. `clock` gives Unix seconds, `jitter` a number from 0 to 1."""

    def __init__(
        self,
        job: JobSpec,
        log: LocalLog,
        settings: Settings,
        *,
        ladders: Mapping[Lane, Ladder],
        agents: Mapping[Lane, Mapping[str, Agent]],
        tools: Mapping[str, AnyTool],
        blobs: MemoryBlobs,
        on_text: OnText,
        on_progress: OnProgress,
        clock: Callable[[], float],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        worker = settings.worker
        self.job = job
        self.log = log
        self.settings = settings
        self.ladders = ladders
        self.tools = dict(sorted(tools.items()))
        self.blobs = blobs
        self.on_text = on_text
        self.on_progress = on_progress
        self.clock = clock
        self.jitter = jitter
        self.rules = Rules(max_attempts=worker.max_attempts, ask_timeout=worker.ask_timeout)
        self.policies = retry_policies(worker)
        self.prompts = prompts_of(settings.prompts.folder)
        self.tool_slots = anyio.CapacityLimiter(settings.tools.concurrency)
        self.slots = {lane: anyio.CapacityLimiter(worker.concurrency) for lane in ladders}
        self._agents = agents
        self._used: dict[TaskId, Usage] = {}

    def add_step(self, step: Step) -> None:
        """Write a finished step; what it has used is its task's."""
        self.log.write(step)
        self._used[step.task] = self.usage_of(step.task).plus(step_usage(step))

    def usage_of(self, task: TaskId) -> Usage:
        """What the task has used in all of its attempts."""
        return self._used.get(task, Usage())

    def agent_of(self, ready: Ready) -> Agent:
        """Raises InvalidSettingsError where no installed agent does such tasks."""
        agent = self._agents[ready.lane].get(ready.task.kind)
        if agent is None:
            raise InvalidSettingsError(
                f"no installed agent does {ready.task.kind!r} tasks in the lane {ready.lane!r}"
            )
        return agent
