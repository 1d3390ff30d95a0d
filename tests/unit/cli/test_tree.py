"""The tree: readable without colour, inside the screen, and never obeying what it shows."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from galerne.cli.spending import models_text
from galerne.cli.submitting import conclude
from galerne.cli.tree import fit, job_tree
from galerne.core.view import JobView, TaskStatus, TaskView
from galerne.messages.facts import Accounted, Asked, JobStatus, Moved, Question
from galerne.messages.ids import TaskId
from galerne.messages.plan import Budget, ModelUsage, Usage, WouldHave

STATUSES: tuple[TaskStatus, ...] = (
    "waiting",
    "ready",
    "running",
    "asking",
    "succeeded",
    "failed",
    "cancelled",
    "dropped",
)


def task(name: str, status: TaskStatus = "succeeded", **more: object) -> TaskView:
    return TaskView(id=TaskId(name), kind="agent", status=status, **more)  # type: ignore[arg-type]


def drawn(view: JobView, *, width: int = 80, height: int | None = None) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=False, color_system=None)
    console.print(job_tree(view, height=height, result=height is None))
    return file.getvalue().splitlines()


def test_everything_worth_knowing_is_there() -> None:
    usage = Usage(models={"m": ModelUsage(calls=1, prompt_tokens=700, completion_tokens=112)})
    view = JobView(
        id="j-1",
        tenant="default",
        status="succeeded",
        goal="Count the words\nof both files",
        seconds=2.14,
        usage=usage,
        result="42 words",
        tasks=(
            TaskView(
                id=TaskId("plan-1"), kind="plan", status="succeeded", seconds=0.41, usage=usage
            ),
            TaskView(id=TaskId("1"), kind="tool", status="succeeded", tool="text_stats", attempt=1),
            task("2", attempt=3, instruction="Compare the counts", needs=(TaskId("1"),)),
            TaskView(id=TaskId("answer"), kind="answer", status="succeeded"),
        ),
    )
    lines = drawn(view)
    assert lines[0] == "Count the words of both files"
    rows = [" ".join(line.split()) for line in lines[1:4]]
    assert rows[0] == "✓ plan-1 plan breaks the goal into tasks 0.4s 812"
    assert rows[1] == "✓ 1 tool text_stats"
    assert rows[2] == "✓ 2 agent Compare the counts try 3 ← 1"
    assert lines[5] == "✓ succeeded · 4 of 4 tasks · 2.1s · 812 tokens · j-1"
    assert lines[-1] == "42 words"


def test_every_state_has_a_mark_of_its_own() -> None:
    view = JobView(
        id="j", tenant="t", status="running", tasks=tuple(task(name, name) for name in STATUSES)
    )
    marks = [line[0] for line in drawn(view)[1 : 1 + len(STATUSES)]]
    assert len(set(marks)) == len(STATUSES)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_an_error_is_shown_with_its_task_and_for_the_job(status: str) -> None:
    view = JobView(
        id="j",
        tenant="t",
        status=status,  # type: ignore[arg-type]
        error="task 1 failed: no such file",
        tasks=(task("1", "failed", error="no such file\x1b[2J"),),
    )
    text = "\n".join(drawn(view))
    assert "✗ 1: no such file" in text
    assert text.endswith("task 1 failed: no such file")


def test_why_a_task_is_tried_again_stands_under_the_tree() -> None:
    why = "no worker serves tool frobnicate: start one with `galerne worker tools`"
    waiting = task("1", "running", attempt=7, again=why)
    view = JobView(id="j-1", tenant="default", status="running", tasks=(waiting,))
    whole = " ".join(" ".join(drawn(view)).split())
    assert f"↻ 1 is tried again: {why}" in whole
    assert any("↻ 1 is tried again: no worker" in line for line in drawn(view, height=24))


def test_what_a_model_did_not_read_stands_under_the_tree() -> None:
    notice = "the server read only 4,096 of at least 9,000 tokens\x1b[2J"
    view = JobView(
        id="j-1",
        tenant="default",
        status="succeeded",
        goal="g",
        tasks=(task("2", notices=(notice,)),),
    )
    lines = drawn(view)
    assert "! 2: the server read only 4,096 of at least 9,000 tokens" in lines


def test_markup_and_escapes_in_a_goal_are_only_text() -> None:
    view = JobView(
        id="j",
        tenant="t",
        status="succeeded",
        goal="[bold red]x[/] :smile: \x1b]0;title\x07[link=http://evil]y[/link]",
        result="[/nonsense]\x1b[31m done",
    )
    lines = drawn(view)
    assert lines[0] == "[bold red]x[/] :smile: [link=http://evil]y[/link]"
    assert lines[-1] == "[/nonsense] done"


def asked(what: Question, task: str = "2", n: int = 1, **more: Any) -> Asked:
    return Asked(task=TaskId(task), n=n, what=what, question="May it?", at=1.0, **more)


def test_open_questions_stand_under_the_tree_with_their_commands() -> None:
    view = JobView(
        id="j-0123456789abcdef",
        tenant="t",
        status="running",
        tasks=(task("2", "asking", attempt=2, resumed=1), task("3", "asking"), task("4", "asking")),
        asks=(
            asked("approval", tool="pay", arguments={"usd": 4}),
            asked("doubt", "3", tool="send", arguments={}),
            asked("question", "4", 0),
        ),
        budget=Budget(calls=7, usd=0.05),
        account=Accounted(calls=5, usd=0.012),
        usage=Usage(models={"m": ModelUsage(5, 700, 112, 0.0031)}),
    )
    for height in (None, 40):
        lines = drawn(view, height=height)
        assert [line[0] for line in lines[1:4]] == ["?", "!", "?"]
        assert "try" not in lines[1]
        assert lines[4:] == [
            '? 2.1 asks for leave: pay({"usd":4})',
            "  galerne approve j-0123456789abcdef 2.1  (or: deny … --why TEXT)",
            "! 3.1 is IN DOUBT, it may have happened or not: send({})",
            "  galerne resolve j-0123456789abcdef 3.1 --happened  (or: --not, --result JSON)",
            "? 4.0 asks you: May it?",
            "  galerne answer j-0123456789abcdef 4.0 VALUE  (or: deny … --why TEXT)",
            "? waits for a person · 0 of 3 tasks · 812 tokens · $0.0031 · j-0123456789abcdef",
            "  calls 5/7 · $0.012/0.05",
            *(["  m: 5 calls, 700 tokens in, 112 out, $0.0031"] if height is None else []),
        ]
        assert all(cell_len(line) <= 80 for line in lines)


def test_a_job_with_a_question_still_runs_while_another_task_does() -> None:
    view = JobView(
        id="j-1",
        tenant="t",
        status="running",
        tasks=(task("1", "running"), task("2", "asking")),
        asks=(asked("approval", tool="pay", arguments={}),),
    )
    assert drawn(view)[-1].startswith("● running · 0 of 2 tasks")


@pytest.mark.parametrize("status", ["budget_exhausted", "deadline_exceeded"])
def test_what_ran_out_shows_why_and_what_it_has(status: JobStatus) -> None:
    view = JobView(
        id="j",
        tenant="t",
        status=status,
        error="7 calls are used up",
        result={"results": {"1": "42 words\x1b[2J"}},
    )
    lines = drawn(view)
    assert status in lines[1]
    assert lines[3] == "7 calls are used up"
    assert lines[-1] == "1: 42 words"


tasks = st.lists(
    st.builds(
        task,
        st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
        st.sampled_from(STATUSES),
        instruction=st.text(max_size=300),
        error=st.none() | st.text(min_size=1, max_size=400),
        attempt=st.integers(0, 12),
        seconds=st.none() | st.floats(0, 1e6),
        needs=st.lists(st.just(TaskId("some-task")), max_size=9).map(tuple),
    ),
    max_size=60,
).map(tuple)


asks = st.lists(
    st.builds(
        asked,
        st.sampled_from(("approval", "doubt", "question")),
        n=st.integers(0, 99),
        tool=st.none() | st.text(max_size=90),
        arguments=st.dictionaries(st.text(max_size=9), st.text(max_size=99), max_size=3),
    ),
    max_size=12,
).map(tuple)
budgets = st.none() | st.just(Budget(usd=1.0, tokens=9, calls=9, tasks=9, seconds=9.0))


@given(tasks, st.integers(8, 60), st.text(max_size=400), asks, budgets)
def test_a_live_tree_never_outgrows_the_terminal(
    shown: tuple[TaskView, ...],
    height: int,
    goal: str,
    open_ones: tuple[Asked, ...],
    budget: Budget | None,
) -> None:
    view = JobView(
        id="j-1",
        tenant="t",
        status="running",
        goal=goal,
        tasks=shown,
        asks=open_ones,
        budget=budget,
    )
    lines = drawn(view, height=height)
    assert len(lines) < height
    assert all(cell_len(line) <= 80 for line in lines)


@given(tasks, st.integers(2, 30))
def test_what_is_folded_is_finished_or_far_from_it(
    all_tasks: tuple[TaskView, ...], room: int
) -> None:
    shown, hidden = fit(all_tasks, room)
    assert len(shown) + bool(hidden) <= room
    assert sorted(map(id, [*shown, *hidden])) == sorted(map(id, all_tasks))
    assert [one for one in all_tasks if any(one is other for other in shown)] == shown
    if any(one.status == "running" for one in hidden):
        assert all(one.status in {"running", "asking"} for one in shown)


def test_of_the_finished_ones_the_latest_stay() -> None:
    shown, hidden = fit([task(str(n)) for n in range(10)], 4)
    assert [one.id for one in shown] == ["7", "8", "9"]
    assert len(hidden) == 7


def test_a_long_list_is_one_line_and_what_needs_a_look_stays() -> None:
    parts = [task(f"2--{n}", parent=TaskId("2")) for n in range(9)]
    parts[3] = task("2--3", "failed", parent=TaskId("2"), error="no such file")
    seen = JobView(
        id="j-1", tenant="default", status="running", tasks=(task("2", "running"), *parts)
    )
    lines = drawn(seen)
    assert any("8 of 9: " in line for line in lines)
    assert [line.split()[1] for line in lines if "2--" in line] == ["2--3", "2--3:"]


def test_what_is_dropped_is_no_error() -> None:
    seen = JobView(
        id="j-1", tenant="default", status="running",
        tasks=(task("1", "dropped", error="a revision of the plan does without it"),),
    )  # fmt: skip
    assert not any("does without" in line for line in drawn(seen))


def test_a_move_to_a_larger_model_is_told_with_its_reason() -> None:
    move = Moved(
        task=TaskId("2"),
        n=1,
        from_model="mistral-7b",
        to_model="mistral-nemo",
        reason="the answer is not JSON",
        at=1.0,
    )
    moved = TaskView(id=TaskId("2"), kind="agent", status="running", moves=(move,))
    view = JobView(
        id="j",
        tenant="default",
        status="running",
        tasks=(moved,),
        usage=Usage(
            models={
                "mistral-7b": ModelUsage(3, 1200, 90, 0.0001935),
                "mixtral-8x22b": ModelUsage(1, 300, 50, 0.0005),
            }
        ),
        would_have=WouldHave("mixtral-8x22b", 0.041),
    )
    told = "↑ 2 moved from mistral-7b to mistral-nemo: the answer is not JSON"
    for height in (None, 24):
        lines = drawn(view, height=height)
        assert "↑1" in lines[1]
        assert told in lines
    *_, small, large, both = drawn(view, width=120)
    assert small == "  mistral-7b: 3 calls, 1200 tokens in, 90 out, $0.0002"
    assert large == "  mixtral-8x22b: 1 call, 300 tokens in, 50 out, $0.0005"
    assert both == f"  {models_text(view.usage, view.would_have)}"


def test_what_no_result_says_stands_under_the_answer() -> None:
    view = JobView(
        id="j-1",
        tenant="default",
        status="succeeded",
        result="302 words",
        unsupported=("302", "\x1b[2J7"),
    )
    lines = drawn(view)
    at = lines.index("302 words")
    assert lines[at + 1].startswith("! no tool's result says 302, ")
    assert "\x1b" not in "".join(lines)


def test_who_stays_with_a_job_is_told_what_to_check(capsys: pytest.CaptureFixture[str]) -> None:
    view = JobView(
        id="j-1", tenant="default", status="succeeded", result="302 words", unsupported=("302",)
    )
    assert conclude(view, as_json=False) == 0
    said = capsys.readouterr()
    assert said.out == "302 words\n"
    assert said.err == (
        "galerne: no tool's result says 302: the model's own word; check before you rely on it\n"
    )
    assert conclude(view, as_json=True) == 0
    assert '"unsupported"' in capsys.readouterr().out


def test_who_stays_with_a_job_is_told_what_the_answer_does_without(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tasks = (
        task("1", "failed"),
        task("2", "failed"),
        task("2--0", "failed", parent="2"),
        task("1--r2", stands_for="1"),
        task("plan-2", "failed"),
        TaskView(id=TaskId("answer"), kind="answer", status="failed"),
    )
    view = JobView(id="j-1", tenant="default", status="succeeded", result="so", tasks=tasks)
    assert conclude(view, as_json=False) == 0
    assert capsys.readouterr().err == (
        "galerne: the answer does without what failed: 2 (`galerne show j-1` says why)\n"
    )
