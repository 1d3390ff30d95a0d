"""The doctor's probes over real HTTP: a whole server, and every fault that it is to find."""

from datetime import date
from typing import Any

import pytest

from galerne.errors import InvalidSettingsError
from galerne.models.catalogue import load
from galerne.models.doctor import Finding, Report, Subject, examine, most_tokens
from galerne.settings import RoleSettings
from integration.pretending import Traits, pretending

pytestmark = pytest.mark.anyio

MODEL = "mistralai/Mistral-7B-Instruct-v0.3"
KEY = "sk-never-shown"
VLLM_FLAGS = "--enable-auto-tool-choice --tool-call-parser mistral --tokenizer-mode mistral"
LOADED = load()


async def examined(traits: Traits, **settings: Any) -> Report:
    async with pretending(traits) as server:
        return await examine(subject(server.url, **settings))


def subject(
    url: str, context: int | None = 4096, *, named: bool = True, model: str = MODEL, **more: Any
) -> Subject:
    return Subject(
        settings=RoleSettings(endpoint=url, model=model, **more),
        catalogue=LOADED,
        today=date(2026, 11, 1),
        salt="k7f",
        named=named,
        context=context,
    )


def of(report: Report, probe: str) -> Finding:
    (found,) = [finding for finding in report.findings if finding.probe == probe]
    return found


def troubles(report: Report) -> dict[str, str]:
    return {one.probe: one.level for one in report.findings if one.level != "ok"}


async def test_a_whole_server_is_well_in_every_respect_and_within_what_was_announced() -> None:
    async with pretending(Traits()) as server:
        asked = subject(server.url)
        heard: list[Finding] = []
        report = await examine(asked, on_finding=heard.append)
    assert troubles(report) == {}
    assert tuple(heard) == report.findings
    assert [one.probe for one in report.findings] == [
        "reachable",
        "key",
        "model",
        "answers",
        "tool calls",
        "required",
        "one tool",
        "JSON schema",
        "streaming",
        "speed",
        "role rules",
        "unknown fields",
        "context",
    ]
    assert report.backend == "vllm"
    assert 4000 < report.tokens <= most_tokens(asked)


async def test_quick_sends_no_long_prompt() -> None:
    async with pretending(Traits()) as server:
        asked = subject(server.url, context=None)
        report = await examine(asked)
        longest = max(len(str(body)) for body in server.asked)
    assert "context" not in {one.probe for one in report.findings}
    assert longest < 2000
    assert report.tokens <= most_tokens(asked)


@pytest.mark.parametrize("how", ["refused", "leaked"])
async def test_vllm_with_wrong_flags_is_told_the_right_ones(how: Any) -> None:
    report = await examined(Traits(tools=how))
    found = of(report, "tool calls")
    assert found.level == "failure"
    assert VLLM_FLAGS in found.mend
    assert ("leaks as text: [TOOL_CALLS]" in found.seen) == (how == "leaked")
    assert of(report, "required").level == "ok"


async def test_ollama_that_ignores_tool_choice_and_cuts_what_is_too_long() -> None:
    traits = Traits(
        owner="library",
        models=("mistral:latest",),
        enforces_choice=False,
        enforces_schema=False,
        context=2048,
        cuts=True,
    )
    report = await examined(traits, model="mistral")
    assert report.backend == "ollama"
    assert troubles(report) == {
        "required": "warning",
        "JSON schema": "failure",
        "context": "failure",
    }
    found = of(report, "context")
    assert "cut without a word" in found.seen
    assert "it read 2,048" in found.seen
    assert "OLLAMA_CONTEXT_LENGTH=4096" in found.mend


async def test_a_server_that_refuses_what_is_too_long_is_asked_for_as_much_as_it_takes() -> None:
    report = await examined(Traits(context=2048))
    found = of(report, "context")
    assert found.level == "warning"
    assert "more than 2,048 is refused" in found.seen
    assert "--max-model-len" in found.mend


async def test_a_refused_key_ends_the_examination_and_is_never_shown() -> None:
    report = await examined(Traits(owner="", key="another"), api_key=KEY)
    assert [(one.probe, one.level) for one in report.findings] == [
        ("reachable", "ok"),
        ("key", "failure"),
    ]
    assert "--key-file" in of(report, "key").mend
    assert KEY not in str(report)


async def test_the_right_key_is_well_and_a_list_without_it_is_said() -> None:
    report = await examined(Traits(key=KEY), api_key=KEY)
    assert of(report, "key").level == "ok"
    assert KEY not in str(report)


@pytest.mark.parametrize(
    ("wanted", "near"),
    [
        ("mistral:7b-instruct-v0.3-q4_K_M", MODEL),  # the same one by the catalogue
        ("mistralai/Mistral-7B-Instruct-v03", MODEL),  # nearly the same letters
    ],
)
async def test_a_model_that_is_not_there_gets_a_suggestion(wanted: str, near: str) -> None:
    models = ("some/other-model", MODEL)
    report = await examined(Traits(owner="", models=models), model=wanted)
    found = of(report, "model")
    assert found.level == "failure"
    assert found.mend.startswith(f"set `model` to {near}")
    assert report.findings[-1] == found


async def test_where_nobody_chose_a_model_a_known_one_of_the_list_is_taken() -> None:
    traits = Traits(models=("some/other-model", MODEL))
    async with pretending(traits) as server:
        report = await examine(subject(server.url, None, named=False, model="mistral-7b"))
    assert report.model == MODEL
    assert of(report, "model").level == "ok"


async def test_a_proxy_without_usage_in_streams_that_drops_the_schema() -> None:
    report = await examined(Traits(owner="", stream_usage=False, enforces_schema=False))
    assert report.backend == "openai"
    assert troubles(report) == {"JSON schema": "failure", "streaming": "failure"}
    assert "stream_options" in of(report, "streaming").mend
    assert "response_format" in of(report, "JSON schema").mend


@pytest.mark.parametrize("status", [400, 500])
async def test_a_strict_template_is_well_because_galerne_keeps_its_rules(status: int) -> None:
    report = await examined(Traits(strict=status))
    found = of(report, "role rules")
    assert found.level == "ok"
    assert "a user after a tool, a late system, ids not of 9" in found.seen
    assert ("status 500" in found.seen) == (status == 500)


async def test_a_server_that_refuses_unknown_fields_may_be_a_proxy_for_mistral() -> None:
    report = await examined(Traits(owner="", unknown=422))
    found = of(report, "unknown fields")
    assert found.level == "warning"
    assert 'backend = "mistral"' in found.mend


async def test_a_busy_server_is_no_fault() -> None:
    report = await examined(Traits(busy=True))
    found = of(report, "answers")
    assert found.level == "warning"
    assert "less busy" in found.mend


async def test_nobody_there_is_one_failure(free_tcp_port: int) -> None:
    report = await examine(subject(f"http://127.0.0.1:{free_tcp_port}"))
    (found,) = report.findings
    assert (found.probe, found.level) == ("reachable", "failure")
    assert found.mend


async def test_an_endpoint_that_cannot_be_used_is_an_error_of_the_settings() -> None:
    with pytest.raises(InvalidSettingsError):
        await examine(subject("ftp://nowhere"))
