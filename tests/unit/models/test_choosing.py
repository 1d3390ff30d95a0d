"""Choosing models: the guidance, what rules a model out, and what to type in the end."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galerne.errors import GalerneError, InvalidInputError
from galerne.models.catalogue import Gpus, Recommendation, Wish, choose, load, serving
from galerne.models.catalogue.choosing import seconds_to_answer
from galerne.models.catalogue.gpus import fit
from galerne.models.catalogue.model import Memory

TODAY = date(2026, 11, 23)
CATALOGUE = load()
B7, NEMO = "mistral-7b-instruct-v0.3", "mistral-nemo-instruct-2407"
X7, X22 = "mixtral-8x7b-instruct-v0.1", "mixtral-8x22b-instruct-v0.1"
LARGE, MEDIUM, SMALL = "mistral-large-2512", "mistral-medium-3-5", "mistral-small-2603"
M8, M3 = "ministral-8b-2512", "ministral-3b-2512"


def wish(quality: Any, gpu: str = "none", **more: Any) -> Wish:
    return Wish(quality=quality, gpus=Gpus.parse(gpu), **more)


def picks(wanted: Wish) -> Recommendation:
    return choose(CATALOGUE, wanted, TODAY)


def why_not(found: Recommendation, role: str, model: str) -> str:
    (why,) = [one.why for one in found.others if (one.role, one.model) == (role, model)]
    return why


def refusal(wanted: Wish) -> str:
    with pytest.raises(InvalidInputError) as caught:
        picks(wanted)
    (line,) = str(caught.value).splitlines()
    return line


@pytest.mark.parametrize(
    ("wanted", "planner", "executor"),
    [
        (wish("simple"), (SMALL, None), (M3, None)),
        (wish("moderate"), (SMALL, None), (M8, None)),
        (wish("complex"), (LARGE, None), (M8, None)),
        (wish("complex", budget=2.5), (LARGE, None), (M8, None)),
        (wish("simple", "1x24GB"), (B7, "fp16"), (B7, "fp16")),
        (wish("simple", "1x8GB", self_hosted=True), (B7, "int4"), (B7, "int4")),
        (wish("simple", "1x4GB"), (SMALL, None), (M3, None)),
        (wish("moderate", "2x80GB"), (SMALL, None), (M8, None)),
        (wish("moderate", "2x80GB", budget=1), (X7, "fp16"), (B7, "fp16")),
        (wish("moderate", "2x80GB", self_hosted=True), (X7, "fp16"), (B7, "fp16")),
        (wish("moderate", "2x24GB", self_hosted=True), (X7, "int4"), (B7, "fp16")),
        (wish("moderate", "1x32GB", self_hosted=True), (X7, "int4"), (X7, "int4")),
        (wish("complex", "2x80GB", self_hosted=True), (X22, "int4"), (NEMO, "fp16")),
        (wish("complex", "8x80GB", self_hosted=True), (X22, "fp16"), (NEMO, "fp16")),
        (wish("complex", "1x24GB"), (LARGE, None), (M8, None)),
        (
            wish("moderate", "2x80GB", self_hosted=True, context=50_000),
            (X22, "int4"),
            (NEMO, "fp16"),
        ),
    ],
)
def test_the_guidance(
    wanted: Wish, planner: tuple[str, str | None], executor: tuple[str, str | None]
) -> None:
    found = picks(wanted)
    assert (found.planner.model, found.planner.precision) == planner
    assert (found.executor.model, found.executor.precision) == executor


def test_reasons_name_the_guidance_the_memory_and_the_price() -> None:
    own = picks(wish("complex", "2x80GB", self_hosted=True)).planner
    assert "complex reasoning in many steps on own GPUs: Mixtral 8x22B" in own.reasons
    assert "takes 88.6 of 160 GiB at int4" in own.reasons
    hosted = picks(wish("complex")).planner
    assert "$0.5 in, $1.5 out per million tokens" in hosted.reasons


def test_where_the_usual_model_is_ruled_out_the_reason_says_by_what() -> None:
    found = picks(wish("moderate", "2x80GB", self_hosted=True, context=50_000))
    assert found.planner.reasons[0] == (
        "usual would be Mixtral 8x7B Instruct v0.1: context of 32,768 tokens, 50,000 are wanted"
    )


def test_what_was_not_picked_says_why_not() -> None:
    found = picks(wish("moderate", "1x24GB", budget=0.5, latency=1))
    assert found.planner.model == SMALL
    assert why_not(found, "planner", X7) == "needs 29.4 GiB even at int4, and 1x24GB has 24"
    assert why_not(found, "planner", LARGE) == "$0.6 per million tokens, and the budget is $0.5"
    assert why_not(found, "planner", B7) == "meant for simple jobs"
    slow = picks(wish("complex", latency=1.5))
    assert why_not(slow, "planner", MEDIUM) == (
        "about 2.0 s for a short answer, and 1.5 s are wanted"
    )
    own = picks(wish("moderate", "2x80GB", self_hosted=True))
    assert why_not(own, "executor", M8) == "only self-hosted ones are wanted"
    assert why_not(picks(wish("complex")), "planner", MEDIUM) == (
        "would do; dearer, $2.1 per million tokens"
    )


@pytest.mark.parametrize(
    ("wanted", "changes"),
    [
        (wish("simple", self_hosted=True), "--gpu 1x8GB, without --self-hosted"),
        (
            wish("complex", "1x24GB", self_hosted=True),
            "--gpu 2x80GB, without --self-hosted, --quality simple",
        ),
        (wish("complex", latency=0.6), "without --latency"),
        (
            wish("complex", budget=0.3),
            "--gpu 2x80GB, without --budget, --quality moderate, --quality simple",
        ),
    ],
)
def test_where_nothing_fits_one_line_says_what_would_have_to_change(
    wanted: Wish, changes: str
) -> None:
    asked = f"no models for {wanted.quality} jobs meet all of that"
    assert refusal(wanted) == f"{asked}; one of these would do: {changes}"


def test_where_no_single_change_is_enough_it_says_so() -> None:
    assert "ask for less in two of them" in refusal(wish("complex", budget=0.01, latency=0.1))


wishes = st.builds(
    Wish,
    quality=st.sampled_from(["simple", "moderate", "complex"]),
    gpus=st.builds(Gpus, st.integers(0, 8), st.sampled_from([8.0, 16.0, 24.0, 48.0, 80.0])),
    self_hosted=st.booleans(),
    latency=st.none() | st.floats(0.1, 5),
    budget=st.none() | st.floats(0, 5),
    context=st.none() | st.integers(1, 300_000),
)


@given(wishes)
def test_a_recommendation_keeps_to_the_wish(wanted: Wish) -> None:
    try:
        found = picks(wanted)
    except GalerneError:
        return
    both = (found.planner, found.executor)
    own = {pick.model: pick.memory_gib or 0 for pick in both if pick.place == "own"}
    assert sum(own.values()) <= wanted.gpus.total
    for pick in both:
        model = CATALOGUE[pick.model]
        assert pick.reasons
        assert pick.place == "own" or (model.is_hosted(TODAY) and not wanted.self_hosted)
        assert wanted.context is None or (model.context or 0) >= wanted.context
        if wanted.latency is not None:
            assert (seconds_to_answer(model) or 9) <= wanted.latency
        if wanted.budget is not None and pick.place == "hosted":
            assert (model.blended_price or 0) <= wanted.budget
    assert CATALOGUE[found.executor.model].tools != "none"
    assert serving(found, wanted, CATALOGUE).variables["GALERNE_PLANNER_MODEL"]


# GPUs


@pytest.mark.parametrize(
    ("text", "count", "gib"),
    [
        ("none", 0, 0),
        ("1x24GB", 1, 24),
        ("24GB", 1, 24),
        ("2x80gb", 2, 80),
        ("4 x 16 GiB", 4, 16),
        ("8×141G", 8, 141),  # noqa: RUF001 - people write the sign
    ],
)
def test_gpus_as_people_write_them(text: str, count: int, gib: float) -> None:
    assert Gpus.parse(text) == Gpus(count, gib)


@pytest.mark.parametrize("text", ["", "two", "2x", "x24GB", "-1x24GB", "0x24GB", "1x0GB", "nan"])
def test_what_is_no_gpu_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInputError, match="write none, 1x24GB or 2x80GB"):
        Gpus.parse(text)


def test_the_first_model_is_as_exact_as_the_others_allow() -> None:
    big = Memory(fp16=40, int8=20, int4=10)
    small = Memory(fp16=8, int8=4, int4=2)
    together = fit((big, small), 24)
    assert together is not None
    assert (together.precisions, together.gib) == (("int8", "int8"), (20, 4))
    assert fit((big, small), 11) is None


# what to type


def test_hosted_models_are_named_with_endpoint_key_and_prices() -> None:
    wanted = wish("moderate")
    how = serving(picks(wanted), wanted, CATALOGUE)
    assert how.commands == ()
    assert how.variables == {
        "GALERNE_PLANNER_ENDPOINT": "https://api.mistral.ai/v1",
        "GALERNE_PLANNER_MODEL": SMALL,
        "GALERNE_PLANNER_API_KEY": "YOUR_KEY",
        "GALERNE_PLANNER_INPUT_PRICE": "0.15",
        "GALERNE_PLANNER_OUTPUT_PRICE": "0.6",
        "GALERNE_EXECUTOR_ENDPOINT": "https://api.mistral.ai/v1",
        "GALERNE_EXECUTOR_MODEL": M8,
        "GALERNE_EXECUTOR_API_KEY": "YOUR_KEY",
        "GALERNE_EXECUTOR_INPUT_PRICE": "0.15",
        "GALERNE_EXECUTOR_OUTPUT_PRICE": "0.15",
    }


def test_a_prototype_runs_on_one_ollama_with_its_context_set() -> None:
    wanted = wish("simple", "1x24GB")
    how = serving(picks(wanted), wanted, CATALOGUE)
    tag = "mistral:7b-instruct-v0.3-fp16"
    assert how.commands == (
        ("OLLAMA_CONTEXT_LENGTH=32768 ollama serve",),
        (f"ollama pull {tag}",),
    )
    assert how.variables["GALERNE_EXECUTOR_MODEL"] == tag
    found = CATALOGUE.find(tag, "ollama")
    assert found is not None
    assert found.id == B7


def test_two_vllm_servers_share_the_memory_and_the_executor_calls_tools() -> None:
    wanted = wish("moderate", "2x80GB", self_hosted=True)
    planner, executor = serving(picks(wanted), wanted, CATALOGUE).commands
    assert planner[0] == "vllm serve mistralai/Mixtral-8x7B-Instruct-v0.1"
    assert "--enable-auto-tool-choice" not in planner
    assert executor[0] == "vllm serve mistralai/Mistral-7B-Instruct-v0.3"
    assert {"--tensor-parallel-size 2", "--enable-auto-tool-choice", "--port 8002"} <= set(executor)
    shares = [
        float(flag.split()[1]) for flag in (*planner, *executor) if "memory-utilization" in flag
    ]
    assert sum(shares) <= 1
    assert shares[0] * 160 >= 104
