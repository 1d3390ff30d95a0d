"""The bounds of plans: in order, derived from what the task and the settings say, and open about
what nobody can know.
"""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.core.budget import Prices
from galerne.core.groups import MAX_ITEMS
from galerne.messages.ids import TaskId
from galerne.messages.plan import TaskKind, TaskSpec
from galerne.models.catalogue import packaged
from galerne.models.tokens import at_most
from galerne.planner import Bounds, Costs, Estimate, ModelCosts, Plan, costs_of, estimate
from galerne.planner.reckoning import TURNS, Assumptions
from galerne.settings import RoleSettings
from galerne_agents import dialogue
from unit.planner.examples import TEXT_STATS, TOOLS, agent_task, tool_task

SMALL = ModelCosts(
    name="small", prices=Prices(1.0, 2.0, 500), context=8_000, timeout=60.0, short=0.6, assumed="s"
)
LARGE = ModelCosts(
    name="large", prices=Prices(10.0, 30.0, 1_000), context=64_000, timeout=90.0, assumed="l"
)
ALONE = Costs(LARGE, SMALL)
LADDER = Costs(LARGE, SMALL, (LARGE,))


def found(*tasks: TaskSpec, costs: Costs = ALONE, goal: str = "the goal") -> Estimate:
    return estimate(Plan(tasks), goal, TOOLS, costs)


def only(*tasks: TaskSpec, costs: Costs = ALONE) -> Estimate:
    """Without the closing answer's own model in the way: `models["small"]` is the tasks'."""
    return found(*tasks, costs=costs)


def changed(task: TaskSpec, **fields: object) -> TaskSpec:
    return msgspec.structs.replace(task, **fields)


def test_a_tool_task_takes_no_tokens_and_at_most_its_time() -> None:
    task = tool_task("1", "text_stats", {"path": "a"})
    (one, closing) = found(task).tasks
    assert one.models == {}
    assert one.seconds == Bounds(0.0, 0.2, TEXT_STATS.timeout)
    assert closing.id == "answer"
    assert found(changed(task, timeout=0.1)).tasks[0].seconds == Bounds(0.0, 0.1, 0.1)


def test_an_agent_task_takes_one_turn_at_least_and_all_turns_at_most() -> None:
    spend = only(changed(agent_task("1"), tools=())).models["small"]
    assert spend.calls == Bounds(1, 1, 12)
    assert spend.answers == Bounds(1, 120, 12 * 500)
    assert 11 * 7_500 < spend.prompt.upper < 12 * 7_500  # the first prompt is known to be shorter
    assert spend.usd.upper == pytest.approx(
        (spend.prompt.upper * 1.0 + spend.answers.upper * 2.0) / 1_000_000
    )


def test_tools_mean_more_turns() -> None:
    plain = only(changed(agent_task("1"), tools=())).models["small"]
    named = only(changed(agent_task("1"), tools=("text_stats", "calculate"))).models["small"]
    assert (plain.calls.expected, named.calls.expected) == (1, 3)
    assert named.prompt.expected > 3 * plain.prompt.expected


def test_a_task_may_move_up_the_ladder_which_only_the_upper_bound_has() -> None:
    task = changed(agent_task("1"), tools=())
    alone, climbing = only(task), only(task, costs=LADDER)
    large = climbing.models["large"].calls.upper - alone.models["large"].calls.upper
    assert large == 12
    assert climbing.total.tokens.expected == alone.total.tokens.expected
    assert climbing.total.usd.upper > alone.total.usd.upper


@pytest.mark.parametrize(
    ("wanted", "models"),
    [(None, {"small", "large"}), ("small", {"small", "large"}), ("medium", {"large"})],
)
def test_the_model_class_says_where_a_task_begins(wanted: object, models: set[str]) -> None:
    (one, _) = only(changed(agent_task("1"), model=wanted), costs=LADDER).tasks
    assert set(one.models) == models
    assert one.models[min(models, key=len)].calls.lower >= (0 if len(models) > 1 else 1)


def test_effort_allows_more_turns() -> None:
    high = only(changed(agent_task("1"), effort="high")).models["small"].calls.upper
    assert high == 2 * only(agent_task("1")).models["small"].calls.upper


def test_a_list_that_is_there_is_counted_and_one_that_is_not_is_said_per_element() -> None:
    one = changed(agent_task("2", "sum up {{item}}"), tools=())
    single = only(one).models["small"]
    three = only(changed(one, foreach=["a", "b", "c"]))
    assert three.models["small"] == single.times(Bounds(3, 3, 3))
    assert three.tasks[0].count == Bounds(3, 3, 3)
    unknown = only(agent_task("1"), changed(one, foreach={"$ref": "1"}, needs=(TaskId("1"),)))
    task = unknown.tasks[1]
    assert task.count == Bounds(0, 1, MAX_ITEMS)
    assert task.note.startswith("per element")
    assert task.total()["small"].calls.lower == 0
    assert task.total()["small"].calls.upper == 12 * MAX_ITEMS
    assert any("a list that is not there yet" in one for one in unknown.assumed)


def test_a_nested_plan_is_the_planners_turns_and_bounded_by_limits_alone() -> None:
    nested = found(changed(agent_task("1"), kind="plan"))
    (one, _) = nested.tasks
    assert one.models["large"].calls.lower == one.models["large"].calls.expected == 1
    assert one.models["small"].calls.expected == 0
    assert one.models["small"].calls.upper > 200 * 24
    assert "a plan of its own" in one.note
    assert any("nested plan" in sentence for sentence in nested.open)


def test_a_question_to_a_person_says_that_its_time_is_open() -> None:
    asking = found(changed(agent_task("1"), kind="ask"))
    assert asking.tasks[0].note == "waits for a person"
    assert any("people" in sentence for sentence in asking.open)


def test_the_time_is_that_of_the_longest_chain_and_not_of_all_tasks() -> None:
    wide = found(*(changed(agent_task(str(n)), tools=()) for n in range(1, 6)))
    one = found(changed(agent_task("1"), tools=()))
    assert wide.seconds == one.seconds
    chain = found(
        changed(agent_task("1"), tools=()), changed(agent_task("2", "then", "1"), tools=())
    )
    assert chain.seconds.expected > one.seconds.expected
    assert chain.path == ("1", "2", "answer")


def test_what_the_same_tokens_cost_on_the_planners_model() -> None:
    some = found(agent_task("1"), agent_task("2"))
    assert some.alone_on == "large"
    assert some.alone is not None
    total = some.total
    assert some.alone.expected == pytest.approx(
        (total.prompt.expected * 10 + total.answers.expected * 30) / 1_000_000
    )
    free = msgspec.structs.replace(LARGE, prices=Prices(0.0, 0.0, 1_000))
    assert found(agent_task("1"), costs=Costs(free, SMALL)).alone is None


def test_settings_and_catalogue_say_what_a_model_costs_and_how_fast_it_is() -> None:
    role = RoleSettings(model="mistral-7b", input_price=0.2, output_price=0.4, max_tokens=700)
    costs = costs_of(role, packaged())
    assert (costs.prices, costs.context, costs.room) == (Prices(0.2, 0.4, 700), 32_768, 32_068)
    assert costs.assumed == "mistral-7b 0.6 s, by its size"
    unknown = costs_of(RoleSettings(model="my-own", context=4_096), packaged())
    assert (unknown.context, unknown.answer) == (4_096, 2_048)
    assert unknown.assumed == "my-own 1.0 s, of unknown size"


def test_the_turns_and_the_prompt_of_the_executor_are_within_what_is_assumed() -> None:
    assert all(TURNS[effort] >= turns for effort, turns in dialogue.MAX_TURNS.items())
    told = dialogue._prompt(dialogue.PROMPT)  # pyright: ignore[reportPrivateUsage]
    assert at_most(told) + 300 < Assumptions().system


KINDS: st.SearchStrategy[TaskKind] = st.sampled_from(["agent", "tool", "ask", "plan"])
OUTPUT: dict[str, Any] = {"type": "object", "properties": {"a": {}}}
FOREACH = st.none() | st.lists(st.integers(), max_size=4) | st.just({"$ref": "1"})


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    tasks: list[TaskSpec] = []
    for number in range(1, draw(st.integers(1, 8)) + 1):
        kind = draw(KINDS)
        known = [task.id for task in tasks]
        tasks.append(
            TaskSpec(
                id=TaskId(str(number)),
                kind=kind,
                instruction=draw(st.text(max_size=40)),
                needs=tuple(draw(st.lists(st.sampled_from(known), unique=True)) if known else ()),
                tool="text_stats" if kind == "tool" else None,
                tools=draw(st.none() | st.just(()) | st.just(("calculate",))),
                foreach=draw(FOREACH),
                model=draw(st.sampled_from([None, "small", "medium", "large"])),
                effort=draw(st.sampled_from([None, "low", "medium", "high"])),
                timeout=draw(st.none() | st.floats(0.1, 1e6)),
                output=draw(st.none() | st.just(OUTPUT)),
            )
        )
    return Plan(tuple(tasks))


@given(plans(), st.sampled_from([ALONE, LADDER]), st.text(max_size=2_000))
def test_every_figure_is_in_order_and_the_whole_is_the_sum_of_its_parts(
    plan: Plan, costs: Costs, goal: str
) -> None:
    whole = estimate(plan, goal, TOOLS, costs)
    spends = [*whole.models.values(), whole.total]
    figures = [
        whole.seconds,
        *(task.seconds for task in whole.tasks),
        *(each for spend in spends for each in (spend.calls, spend.prompt, spend.answers)),
        *(spend.usd for spend in spends),
    ]
    assert all(0 <= one.lower <= one.expected <= one.upper for one in figures)
    assert whole.total.calls.upper == sum(one.calls.upper for one in whole.models.values())
    assert whole.seconds.upper <= sum(task.seconds.upper for task in whole.tasks) * 1.000001
    assert whole.path[-1] == "answer"
    assert msgspec.json.decode(msgspec.json.encode(whole))
