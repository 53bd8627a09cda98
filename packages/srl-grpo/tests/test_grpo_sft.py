"""`srl-grpo sft` as a user meets it: what it trains on, what it leaves, what it refuses."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from srl_data.arithmetic import problems
from srl_data.command.config import Section, leaves, section_of
from srl_data.prompt_record import read_record
from srl_data.records import SftPair, write_records
from srl_eval.answer_form import grammar_of
from srl_grpo.config.sft import SftConfig
from srl_grpo.learner.updater import Updater
from srl_grpo.run.checkpoint import read_manifest, verify
from srl_grpo.run.directory import RunDirectory
from srl_grpo.run.trackers import read_metrics

SUMS = [(1, 2), (3, 4), (55, 6), (7, 88), (9, 1), (2, 2), (30, 12)]
ROOM = {"max_seq_len": 160, "thinking_field": "thinking"}
THINK = ("--thinking-field", "thinking")
FEW = ("--max-new-tokens", 4)
BUILD = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1}


def pair(name: str, prompt: str, response: str, answer: str) -> SftPair:
    return SftPair(id=name, prompt=prompt, response=response, meta={"answer": answer})


@pytest.fixture
def pairs(tmp_path) -> Path:
    """Sums and their results; the last response is the longest."""
    path = tmp_path / "pairs.jsonl"
    records = [
        SftPair(
            id=f"{a}+{b}", prompt=f"{a}+{b}=?", response=str(a + b), meta={"answer": str(a + b)}
        )
        for a, b in SUMS
    ]
    long = SftPair(id="long", prompt="12+34=?", response="46 " * 10 + "46", meta={"answer": "46"})
    write_records(path, [*records, long])
    return path


@pytest.fixture
def steps(tmp_path) -> Path:
    """SRL instances of four additions."""
    path = tmp_path / "srl.jsonl"
    made = problems(3, 4, split="train")
    write_records(path, [instance for problem in made for instance in problem.instances()])
    return path


@pytest.fixture
def config(tmp_path, pairs):
    """Writes a config of a run of a second; sections given are laid over it."""

    def write(**changes) -> Path:
        tree = {
            "model": {"build": BUILD},
            "data": {"path": str(pairs), "max_seq_len": 64},
            "optimizer": {"learning_rate": 1e-3},
            "tracking": {"tensorboard": False},
        }
        for name, section in changes.items():
            old = tree.get(name, {})
            tree[name] = {**old, **section} if isinstance(section, dict) else section
        path = tmp_path / "sft.yaml"
        path.write_text(yaml.safe_dump(tree))
        return path

    return write


def run(call, path, *flags):
    code, out, err = call("sft", "--config", path, "--output-dir", "out", *flags)
    assert code == 0, err
    return out


def metrics(folder: Path) -> list[dict[str, float]]:
    return list(read_metrics(folder / "out/metrics.jsonl"))


@pytest.fixture
def seen(monkeypatch) -> list[list]:
    """The samples of every optimizer step."""
    found: list[list] = []
    plain = Updater.optimizer_step

    def step(self, batch, learning_rate, number):
        found.append(list(batch))
        return plain(self, batch, learning_rate, number)

    monkeypatch.setattr(Updater, "optimizer_step", step)
    return found


def test_final_alone_is_left_and_is_a_checkpoint_that_transformers_loads(call, config, tmp_path):
    run(call, config())
    out = tmp_path / "out"
    assert [p.name for p in out.iterdir() if (p / "MANIFEST.json").is_file()] == ["final"]
    manifest = verify(out / "final")
    assert manifest.step == 1
    assert {"model.safetensors", "tokenizer.json", "trainer/state.json"} <= manifest.files.keys()
    model = AutoModelForCausalLM.from_pretrained(out / "final")
    tokenizer = AutoTokenizer.from_pretrained(out / "final")
    assert model.config.vocab_size == len(tokenizer)
    record = read_record(out / "final")
    assert record is not None
    assert record.name == "question_only"  # the model has no chat template


def test_an_epoch_is_every_example_once_and_the_last_batch_is_what_is_left(
    call, config, seen, tmp_path
):
    run(call, config(num_epochs=3, batch_size=5, engine={"gradient_accumulation_steps": 1}))
    sizes = [len(batch) for batch in seen]
    assert sizes == [5, 5, 5, 5, 4]
    flat = [sample.prompt_ids for batch in seen for sample in batch]
    assert set(Counter(flat).values()) == {3}
    assert [Counter(flat[n : n + 8]) for n in (0, 8, 16)] == [Counter(flat[:8])] * 3
    assert flat[:8] != flat[8:16]
    assert [row["examples"] for row in metrics(tmp_path)] == sizes
    assert metrics(tmp_path)[-1]["epoch"] == 3


@pytest.mark.parametrize(
    ("flags", "examples"),
    [
        ((), 16),
        (("--batch-size", 2, "--gradient-accumulation-steps", 3), 6),
        (("--batch-size", 3, "--micro-batch-tokens", 40), 3),
    ],
)
def test_a_step_takes_batch_size_times_accumulation_examples(call, config, seen, flags, examples):
    run(call, config(num_steps=2), *flags)
    assert [len(batch) for batch in seen] == [examples] * 2


def test_the_loss_is_that_of_response_tokens_over_the_global_batch(call, config, tmp_path):
    # Rate 1e-30 moves nothing in float32: every step and `final/` have the first weights.
    run(call, config(num_epochs=1, optimizer={"learning_rate": 1e-30}))
    (row,) = metrics(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out/final").double()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out/final")
    total, tokens = 0.0, 0
    for a, b in SUMS:
        total, tokens = added(model, tokenizer, f"{a}+{b}=?", str(a + b), total, tokens)
    total, tokens = added(model, tokenizer, "12+34=?", "46 " * 10 + "46", total, tokens)
    assert row["train/loss"] == pytest.approx(total / tokens, rel=1e-6)
    assert row["num_tokens"] == tokens


def added(model, tokenizer, prompt, response, total, tokens):
    """The sums with one pair's negative log-likelihood, its end token included."""
    ids = tokenizer(prompt, add_special_tokens=False).input_ids
    answer = [*tokenizer(response, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    with torch.no_grad():
        logits = model(torch.tensor([[*ids, *answer]])).logits[0, len(ids) - 1 : -1]
    chosen = torch.log_softmax(logits, -1).gather(1, torch.tensor(answer)[:, None])
    return total - float(chosen.sum()), tokens + len(answer)


def test_held_out_loss_is_that_of_its_tokens_and_answers_are_generated_and_graded(
    call, config, tmp_path
):
    path = config(
        num_steps=1,
        optimizer={"learning_rate": 1e-30},
        evaluation={"eval_every": 1},
        generation={"max_new_tokens": 4},
    )
    run(call, path, "--val-data", tmp_path / "pairs.jsonl", "--eval-limit", 8)
    (row,) = metrics(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out/final").double()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out/final")
    total, tokens = 0.0, 0
    for a, b in SUMS:
        total, tokens = added(model, tokenizer, f"{a}+{b}=?", str(a + b), total, tokens)
    total, tokens = added(model, tokenizer, "12+34=?", "46 " * 10 + "46", total, tokens)
    assert row["eval/loss"] == pytest.approx(total / tokens, rel=1e-6)
    assert row["eval/accuracy"] == 0  # random weights
    assert "eval/format_reward" not in row  # question_only asks for no form


def test_an_answer_that_is_learned_by_heart_is_right(call, config, tmp_path):
    (tmp_path / "one.jsonl").write_text(
        json.dumps({"id": "a", "prompt": "7+8=?", "response": r"\boxed{15}", "answer": "15"}) + "\n"
    )
    path = config(
        num_steps=60,
        data={"path": str(tmp_path / "one.jsonl")},
        optimizer={"learning_rate": 0.02},
        evaluation={"eval_every": 60},
        generation={"max_new_tokens": 8},
    )
    run(call, path, "--val-data", tmp_path / "one.jsonl")
    last = metrics(tmp_path)[-1]
    assert last["train/loss"] < 0.05
    assert last["eval/accuracy"] == 1


def test_steps_of_a_template_with_a_grammar_are_judged_by_it(call, config, steps, tmp_path):
    path = config(
        num_steps=1,
        data={"path": str(steps), "template": "bare", **ROOM},
        evaluation={"eval_every": 1, "eval_limit": 5},
        generation={"max_new_tokens": 6},
    )
    run(call, path, "--val-data", steps)
    (row,) = metrics(tmp_path)
    assert row["eval/format_reward"] == 0
    assert row["eval/invalid"] == 1
    assert row["eval/reward"] == -1


def test_without_save_final_only_steps_are_kept_and_final_is_the_last(call, config, tmp_path):
    path = config(num_steps=3, checkpoint={"checkpoint_every": 2})
    run(call, path, "--no-save-final-only")
    out = tmp_path / "out"
    kept = sorted(p.name for p in out.iterdir() if (p / "MANIFEST.json").is_file())
    assert kept == ["final", "step_2", "step_3"]
    weights = "model.safetensors"  # a hard link, no second copy
    assert (out / "final" / weights).samefile(out / "step_3" / weights)
    assert not (out / "final/trainer/zero").exists()
    assert read_manifest(out / "final").step == 3


def test_a_finished_run_says_so_and_final_alone_cannot_be_trained_on(call, config, tmp_path):
    path = config(num_epochs=2)
    run(call, path)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out/final").rglob("*")}
    code, out, _ = call("sft", "--output-dir", "out", "--resume", "auto")
    assert (code, "nothing to do" in out, "--num-epochs above 2" in out) == (0, True, True)
    code, _, err = call("sft", "--output-dir", "out", "--resume", "auto", "--num-epochs", 3)
    assert code == 2
    assert "no optimizer state to resume from" in err
    assert "--model out/final" in err
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out/final").rglob("*")} == before


def test_a_run_stopped_before_final_was_sealed_seals_it(call, config, tmp_path):
    import shutil

    run(call, config(num_steps=2), "--no-save-final-only")
    shutil.rmtree(tmp_path / "out/final")
    code, _, err = call("sft", "--output-dir", "out", "--resume", "auto")
    assert code == 0, err
    assert verify(tmp_path / "out/final").step == 2
    assert len(metrics(tmp_path)) == 2


def test_the_next_stage_takes_the_template_of_final(call, config, steps):
    run(call, config(num_steps=1, data={"path": str(steps), "template": "bare", **ROOM}))
    asked = ("--model", "out/final", "--data", steps, "--max-seq-len", 160, "--dry-run", *THINK)
    code, out, err = call("sft", *asked)
    assert code == 0, err
    assert "template: bare" in out  # not srl, the default for such records


@pytest.mark.parametrize(
    ("flags", "code", "told"),
    [
        (("--num-epochs", 2, "--num-steps", 3), 2, "both say how long to train"),
        (
            ("--gradient-accumulation-steps", 2, "--micro-batch-tokens", 99),
            2,
            "either says where a micro-batch ends",
        ),
        (("--warmup-steps", 2, "--warmup-ratio", 0.1), 2, "leave one of them out"),
        (("--max-seq-len", 300), 2, "max_seq_len 300 exceeds the model's 256 positions"),
        (("--max-seq-len", 3), 3, "raise --max-seq-len"),
        (("--eval-steps", 1), 2, "evaluation needs held-out data"),
        (("--eval-steps", 1, "--val-data", "pairs.jsonl", "--max-new-tokens", 250), 2, "positions"),
        (("--data", "none.jsonl"), 3, "none.jsonl"),
        (("--template", "srl"), 2, "--template srl"),
        (("--prompt-field", "question"), 3, "question"),
        (("--grader", "aime", "--eval-steps", 1, "--val-data", "bad.jsonl", *FEW), 3, "'bad'"),
        (("--resume", "auto", "--model", "m"), 2, "not both"),
    ],
)
def test_what_cannot_be_is_refused_before_a_step(call, config, tmp_path, flags, code, told):
    bad = {"id": "bad", "prompt": "1+1=?", "response": "2", "answer": "no number"}
    (tmp_path / "bad.jsonl").write_text(json.dumps(bad) + "\n")
    got, _, err = call("sft", "--config", config(), "--output-dir", "out", *flags)
    assert (got, told in err) == (code, True), err
    assert not RunDirectory(tmp_path / "out").metrics.exists()


def test_too_long_examples_are_dropped_or_cut_and_counted(call, config, seen):
    out = run(call, config(num_epochs=1), "--max-seq-len", 20)
    assert "1 examples over 20 tokens left out" in out
    assert sum(map(len, seen)) == 7
    seen.clear()
    code, out, err = call(
        *("sft", "--config", config(num_epochs=1), "--output-dir", "cut"),
        *("--max-seq-len", 20, "--too-long", "cut"),
    )
    assert code == 0, err
    assert "1 responses" in out
    assert sum(map(len, seen)) == 8
    assert max(sample.length for batch in seen for sample in batch) == 20


def test_every_key_is_read_by_some_run(call, config, tmp_path, monkeypatch):
    """A key that nothing reads does nothing, whatever its help says."""
    read: set[str] = set()
    plain = Section.__getattribute__

    def reading(self: Section, name: str) -> object:
        if name in type(self).model_fields:
            read.add(f"{type(self).__name__}.{name}")
        return plain(self, name)

    path = config(
        num_steps=2,
        optimizer={"warmup_ratio": 0.5},
        evaluation={"eval_every": 1, "before_after": True},
        generation={"max_new_tokens": 4},
    )
    monkeypatch.setattr(Section, "__getattribute__", reading)
    run(call, path, "--val-data", tmp_path / "pairs.jsonl", "--max-seq-len", 20)
    monkeypatch.undo()
    unread = {leaf.key for leaf in leaves(SftConfig) if owner(leaf.path) not in read}
    # Of models from elsewhere, of SRL instances, of trackers that are off, of other hosts.
    assert unread <= {
        "model.resize_embeddings",
        "evaluation.chain_start",
        "checkpoint.keep_last",
        "tracking.wandb_project",
        "tracking.trackio_project",
        "tracking.run_name",
        "launch.node_rank",
        "launch.rdzv_endpoint",
        *(f"launch.{name}" for name in ("nproc_per_node", "nnodes")),
    }


def owner(path: tuple[str, ...]) -> str:
    """A key as the class of its section and its name there."""
    kind: type[Section] = SftConfig
    for part in path[:-1]:
        inner = section_of(kind.model_fields[part].annotation)
        assert inner is not None
        kind = inner
    return f"{kind.__name__}.{path[-1]}"


def test_only_templates_with_a_grammar_have_one():
    from srl_data.prompts import TEMPLATES

    having = {name for name, template in TEMPLATES.items() if grammar_of(template) is not None}
    assert having == {"srl", "bare", "r1_zero"}


def test_held_out_data_that_no_evaluation_reads_is_told(call, config, tmp_path):
    out = run(call, config(num_steps=1), "--val-data", tmp_path / "pairs.jsonl")
    assert "--val-data is not read: give --eval-steps or --before-after" in out
