"""`galerne doctor` against a real server, whose model is too small for anything."""

import json
import os
import subprocess
import sys

import pytest

from acceptance.llamacpp import CONTEXT, MODEL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_llamacpp_is_told_apart_from_its_silly_model(llama: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GALERNE_")}
    done = subprocess.run(
        [sys.executable, "-m", "galerne", "doctor", llama, "--json"],
        env=kept,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    (report,) = json.loads(done.stdout)
    assert (report["backend"], report["model"]) == ("llamacpp", MODEL)
    levels = {found["probe"]: found["level"] for found in report["findings"]}
    seen = {found["probe"]: found["seen"] for found in report["findings"]}
    mends = {found["probe"]: found["mend"] for found in report["findings"]}
    # What the server does is well; what only a better model would do is a warning.
    assert {probe for probe, level in levels.items() if level == "failure"} == set(), seen
    for probe in ("key", "model", "answers", "required", "one tool", "JSON schema", "streaming"):
        assert levels[probe] == "ok", seen[probe]
    assert (
        "refused, and never sent: a user after a tool, a late system, ids not of 9"
        in (seen["role rules"])
    )
    assert levels["context"] == "warning"
    assert f"more than {CONTEXT:,} is refused" in seen["context"]
    assert "-c 16384" in mends["context"]
    assert done.returncode == 0
    assert report["tokens"] < 16_384
