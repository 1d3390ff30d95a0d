"""The tools that come along keep the rules that `galerne tools check` tells others."""

import json
from pathlib import Path

import pytest

from galerne.settings import (
    DataSettings,
    OpenApiSettings,
    PythonSettings,
    ToolSettings,
    WebSettings,
)
from galerne.tools import AnyTool, load_tools
from galerne.tools.checking import look_over

pytestmark = pytest.mark.anyio


@pytest.fixture
def everything(tmp_path: Path) -> dict[str, AnyTool]:
    document = tmp_path / "api.json"
    operation = {"operationId": "look", "summary": "Look around."}
    document.write_text(json.dumps({"openapi": "3.1.0", "paths": {"/x": {"get": operation}}}))
    settings = ToolSettings(
        root=str(tmp_path),
        write=True,
        data=DataSettings(enabled=True),
        python=PythonSettings(enabled=True),
        web=WebSettings(fetch=True, search="searxng", search_url="http://127.0.0.1:9"),
        openapi={"api": OpenApiSettings(spec=str(document), base="http://127.0.0.1:9")},
    )
    return dict(load_tools(settings))


async def test_there_is_nothing_to_mend(everything: dict[str, AnyTool]) -> None:
    problems = [one for one in look_over(everything.values()) if one.weight != "note"]
    assert problems == []


def test_all_of_them_are_looked_over(everything: dict[str, AnyTool]) -> None:
    effects = {name: made.spec.effect for name, made in everything.items()}
    assert effects == {
        "api_look": "pure",
        "calculate": "pure",
        "date_add": "pure",
        "date_diff": "pure",
        "date_info": "pure",
        "describe_data": "pure",
        "edit_file": "once",
        "fetch_page": "pure",
        "list_files": "pure",
        "python": "pure",
        "query_data": "pure",
        "read_file": "pure",
        "search_files": "pure",
        "search_web": "pure",
        "text_stats": "pure",
        "write_file": "once",
    }
