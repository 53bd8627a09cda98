"""Expert iteration that is stopped inside a round, and what it asks again: nothing."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from srl_eval.generate import Completion, Sampling, TransformersEngine
from srl_grpo.learner.fingerprint import checksum, fingerprint
from srl_grpo.rollout.stored_engine import StoredEngine
from srl_grpo.run.checkpoint import steps_of
from srl_grpo.run.directory import RunDirectory
from srl_grpo.run.trackers import read_metrics
from srl_grpo.stages.imitation import Imitation

TREE = {
    "n_ei_steps": 2,
    "model": {
        "build": {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1},
    },
    "data": {"template": "question_only", "max_prompt_length": 160},
    "synthetic": {"num_problems": 6, "num_heldout": 2, "digits": [2, 2]},
    "rollout": {"batch_size": 4, "group_size": 4, "max_new_tokens": 12, "chunk_size": 4},
    "reward": {"reward": "own.py:odd"},
    "selection": {"min_reward": 1.0, "rationalise": True},
    "sft": {"batch_size": 3, "epochs": 2, "start_from": "base"},
    "optimizer": {"learning_rate": 1e-2},
    "tracking": {"tensorboard": False},
}
TIMES = ("time", "per_second")


@pytest.fixture
def chunks(monkeypatch) -> list[tuple]:
    """Every chunk that the engine generates, as it is generated."""
    made: list[tuple] = []
    real = TransformersEngine.run_chunk

    def run_chunk(self, prompts, sampling, seeds):
        done = real(self, prompts, sampling, seeds)
        made.append(
            (tuple(map(tuple, prompts)), tuple(seeds), sampling.temperature, self.weights_version)
        )
        return done

    monkeypatch.setattr(TransformersEngine, "run_chunk", run_chunk)
    return made


@pytest.fixture
def expert(call, tmp_path, monkeypatch):
    """Runs the command in a folder; `stop_at` interrupts it before its so manieth piece of work."""
    (tmp_path / "own.py").write_text(
        "def odd(completions, **_):\n    return [float(len(c) % 2) for c in completions]\n"
    )
    (tmp_path / "ei.yaml").write_text(yaml.safe_dump(TREE))

    def run(out, *flags, stop_at=None):
        count = [0]

        def counted(real):
            def work(*arguments, **keywords):
                count[0] += 1
                if count[0] == stop_at:
                    raise KeyboardInterrupt
                return real(*arguments, **keywords)

            return work

        with monkeypatch.context() as patch:
            patch.setattr(TransformersEngine, "generate", counted(TransformersEngine.generate))
            patch.setattr(Imitation, "step", counted(Imitation.step))
            options = ("--config", "ei.yaml", "--output-dir", out, *flags)
            code, out, err = call("expert-iteration", *options)
        return code, out + err, count[0]

    return run


def comparable(run: Path) -> dict[str, object]:
    metrics = [
        {name: value for name, value in row.items() if not any(t in name for t in TIMES)}
        for row in read_metrics(run / "metrics.jsonl")
    ]
    files = {
        path.relative_to(run).as_posix(): path.read_bytes()
        for folder in ("samples", "kept", "rollouts", "final")
        for path in sorted((run / folder).rglob("*"))
        if path.suffix in (".safetensors", ".jsonl", ".zst")
    }
    return {"metrics": metrics, "files": files}


def test_a_run_stopped_at_every_piece_of_work_asks_for_nothing_twice(expert, chunks, tmp_path):
    code, told, pieces = expert("unbroken")
    assert code == 0, told
    whole = [chunk[:3] for chunk in chunks]
    chunks.clear()
    for stop_at in range(1, pieces + 1):
        code, told, _ = expert("stopped", "--resume", "auto", stop_at=min(stop_at, 4))
        if code == 0:
            break
        assert code == 130
        assert "resume with: srl-grpo expert-iteration" in told
    assert code == 0, "some piece is done at every start"
    assert [chunk[:3] for chunk in chunks] == whole
    assert comparable(tmp_path / "stopped") == comparable(tmp_path / "unbroken")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_change_of_any_value_changes_the_checksum(tiny_model, dtype):
    model = tiny_model().to(dtype)
    before = checksum(model)
    assert checksum(tiny_model().to(dtype)) == before
    weight = model.model.layers[0].mlp.up_proj.weight
    values = weight.detach().flatten()
    place = 3  # between those that a fingerprint reads
    values[place] = torch.nextafter(values[place], values[place] + 1)
    assert fingerprint(model) == fingerprint(tiny_model().to(dtype))
    assert checksum(model) != before


def test_files_that_a_kill_cut_short_are_removed(expert, tmp_path):
    assert expert("out", stop_at=3)[0] == 130
    left = RunDirectory(tmp_path / "out").samples(1) / ".abc.jsonl.zst.17.tmp"
    left.write_bytes(b"half")
    assert expert("out", "--resume", "auto", "--n-ei-steps", 1)[0] == 0
    assert not left.exists()


def test_other_sampling_is_asked_for_anew(expert, chunks, tmp_path):
    assert expert("out", stop_at=3)[0] == 130
    assert len(chunks) == 2
    assert expert("out", "--resume", "auto", "--temperature", 0.5, "--n-ei-steps", 1)[0] == 0
    assert sum(chunk[2] == 0.5 for chunk in chunks) >= 4


def test_another_engine_is_asked_anew(expert, chunks, tmp_path, monkeypatch):
    """By its name, its attention, its versions: each moves a token at the same seed."""
    flags = ("--resume", "auto", "--n-ei-steps", 1)
    assert expert("out", stop_at=3)[0] == 130
    assert len(chunks) == 2
    assert expert("out", *flags, "--attention", "eager", stop_at=3)[0] == 130
    assert len(chunks) == 4
    with monkeypatch.context() as patch:
        newer = {"python": "3.11", "torch": "9.0"}
        patch.setattr("srl_grpo.rollout.sampler.package_versions", lambda *_: dict(newer))
        assert expert("out", *flags, "--attention", "eager", stop_at=3)[0] == 130
    assert [chunk[:2] for chunk in chunks] == [chunk[:2] for chunk in chunks[:2]] * 3
    assert expert("out", *flags, "--attention", "eager")[0] == 0
    assert [chunk[:2] for chunk in chunks[6:8]] != [chunk[:2] for chunk in chunks[:2]]


def test_a_run_continued_from_an_earlier_round_forgets_the_later_ones(expert, chunks, tmp_path):
    assert expert("out")[0] == 0
    before = comparable(tmp_path / "out")
    chunks.clear()
    code, told, _ = expert("out", "--resume", tmp_path / "out/ei_step_1")
    assert code == 0, told
    assert steps_of(tmp_path / "out") == [1, 2]
    assert chunks == []  # the same weights answer the same questions
    assert comparable(tmp_path / "out") == before | {
        "metrics": [before["metrics"][0], before["metrics"][1]]
    }


def test_a_damaged_chunk_is_named(expert, tmp_path):
    assert expert("out", stop_at=3)[0] == 130
    chunk = next(RunDirectory(tmp_path / "out").samples(1).iterdir())
    chunk.write_bytes(b"no")
    code, told, _ = expert("out", "--resume", "auto")
    assert (code, str(chunk.name) in told) == (3, True), told


def test_the_base_goes_along_where_a_run_is_continued_elsewhere(expert, tmp_path):
    assert expert("out")[0] == 0
    whole = (tmp_path / "out/final/model.safetensors").read_bytes()
    code, told, _ = expert("other", "--resume", tmp_path / "out/ei_step_1")
    assert code == 0, told
    assert (tmp_path / "other/final/model.safetensors").read_bytes() == whole


class Counting:
    """An engine that numbers what it is asked."""

    chunk_size = 2
    weights_version = 3

    def __init__(self) -> None:
        self.calls = 0

    def generate(self, prompts, sampling, seeds):
        self.calls += 1
        return [Completion((self.calls, 0), (-0.5, -0.25), "stop", 3, "x") for _ in prompts]


def test_a_chunk_is_known_by_all_that_decides_it(tmp_path):
    engine = Counting()
    store = StoredEngine(engine, tmp_path, "one", {"backend": "hf", "torch": "2.13.0"})
    asked = ([(1, 2), (3,), (4,)], Sampling(4), [7, 8, 9])
    first = store.generate(*asked)
    assert engine.calls == 2
    engine.weights_version = 5
    again = store.generate(*asked)
    assert engine.calls == 2
    assert again == [replace(each, weights_version=5) for each in first]
    others = (
        ([(1, 2), (3, 3), (4,)], Sampling(4), [7, 8, 9]),
        ([(1, 2), (3,), (4,)], Sampling(4, temperature=0.5), [7, 8, 9]),
        ([(1, 2), (3,), (4,)], Sampling(4), [7, 6, 9]),
    )
    for number, other in enumerate(others, 1):
        before = engine.calls
        store.generate(*other)
        assert engine.calls > before, number
    before, store.weights = engine.calls, "two"
    store.generate(*asked)
    assert engine.calls == before + 2
    for sampler in ({"backend": "vllm", "torch": "2.13.0"}, {"backend": "hf", "torch": "2.14.0"}):
        before, store.sampler = engine.calls, sampler
        store.generate(*asked)
        assert engine.calls == before + 2
