"""What the tests share: a byte tokenizer, a tiny model folder, a scripted engine."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from srl_data.loopback import LoopbackServer
from srl_eval import EvalConfig, evaluate, get_task, live_subject
from srl_eval.generate import ChunkedEngine, Completion, Prompt, Sampling, TransformersEngine
from srl_eval.grading import Verdict
from srl_eval.samples import Sample

# One thread, as the engine takes for models this small: two are slower where cores are shared.
torch.set_num_threads(1)

END, PAD = "<|end|>", "<|pad|>"
Reply = Callable[[str, int], str]


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, id 0 ends, id 1 pads, and a chat template that marks the roles."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: number for number, piece in enumerate([END, PAD, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD)
    fast.chat_template = (
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    return fast


def tiny_model(window: int = 4096) -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=258,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=window,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=1,
    )
    return Qwen3ForCausalLM(config).eval()


class ScriptedEngine(ChunkedEngine):
    """Answers `reply(prompt text, seed)`; ends with the stop token if there is room."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, reply: Reply, chunk_size: int) -> None:
        super().__init__(chunk_size)
        self.tokenizer, self.reply = tokenizer, reply
        self.calls: list[list[str]] = []

    def run_chunk(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Completion]:
        texts = [str(self.tokenizer.decode(list(prompt))) for prompt in prompts]
        self.calls.append(texts)
        return [
            self.complete(self.reply(text, seed), sampling)
            for text, seed in zip(texts, seeds, strict=True)
        ]

    def complete(self, text: str, sampling: Sampling) -> Completion:
        ids = [*self.tokenizer.encode(text, add_special_tokens=False), 0]
        ids = ids[: sampling.max_new_tokens]
        reason = "stop" if ids[-1] == 0 else "length"
        return Completion(tuple(ids), (0.0,) * len(ids), reason, self.weights_version)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return byte_tokenizer()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that plain transformers loads; tests must not write into it."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_model().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def scripted(tokenizer: PreTrainedTokenizerFast) -> Callable[..., ScriptedEngine]:
    def make(reply: Reply, chunk_size: int = 4) -> ScriptedEngine:
        return ScriptedEngine(tokenizer, reply, chunk_size)

    return make


@pytest.fixture(scope="session")
def sample() -> Callable[..., Sample]:
    """A sample with what a test says of it."""

    def make(**fields: object) -> Sample:
        plain = Sample(
            task="aime24",
            id="p",
            doc=0,
            sample=0,
            seed=0,
            prompt_sha256="",
            response="",
            extracted=None,
            gold="1",
            verdict=Verdict.NO_ANSWER,
            finish_reason="stop",
            prompt_tokens=1,
            completion_tokens=1,
            steps=1,
        )
        return replace(plain, **fields)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def problems_file() -> Callable[..., Path]:
    """Writes problems of which the answer is the number."""

    def make(folder: Path, count: int = 8) -> Path:
        path = folder / "problems.jsonl"
        rows = [{"id": f"p{n}", "problem": f"Problem {n}?", "answer": str(n)} for n in range(count)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return make


@pytest.fixture
def run(
    tmp_path: Path,
    tokenizer: PreTrainedTokenizerFast,
    scripted: Callable[..., ChunkedEngine],
    problems_file: Callable[..., Path],
) -> Callable[..., Path]:
    """Evaluates a pretended model that is right with probability `skill`; its folder."""

    def make(
        name: str,
        skill: float,
        text: str = "",
        end: str = "",
        task: str = "aime24",
        template: str = "boxed",
        **sections: dict[str, object],
    ) -> Path:
        def reply(prompt: str, seed: int) -> str:
            number = int(prompt.split("Problem ")[1].split("?", maxsplit=1)[0])
            right = random.Random(seed).random() < skill
            return f"{text}\\boxed{{{number if right else 999}}}{end}"

        folder = tmp_path / name
        tree: dict[str, dict[str, object]] = {
            "decoding": {"mode": "avg4", "max_new_tokens": 200},
            "data": {"data_path": problems_file(tmp_path), **sections.pop("data", {})},
            "output": {"output_dir": folder, "bootstrap": 200},
        }
        subject = live_subject(
            *(scripted(reply), tokenizer),
            stop_token_ids=(0,),
            window=None,
            label=name,
            template=template,
        )
        evaluate(get_task(task), EvalConfig.model_validate({**tree, **sections}), subject)
        return folder

    return make


def completion_reply(
    server: LoopbackServer, engine: TransformersEngine, body: dict[str, Any]
) -> dict[str, Any]:
    """vLLM's answer to a completion request with `return_token_ids`."""
    assert body["return_token_ids"] is True
    top_k = body["top_k"]
    sampling = Sampling(
        max_new_tokens=body["max_tokens"],
        temperature=body["temperature"],
        top_p=body["top_p"],
        top_k=0 if top_k == -1 else top_k,
        min_p=body["min_p"],
        stop_token_ids=tuple(body["stop_token_ids"]),
        stop=tuple(body.get("stop", ())),
    )
    with server.lock:
        (made,) = engine.generate([body["prompt"]], sampling, [body["seed"]])
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "text": "not looked at",
                "token_ids": list(made.token_ids),
                "logprobs": {"token_logprobs": list(made.logprobs), "tokens": []},
                "finish_reason": made.finish_reason,
                "stop_reason": None,
            }
        ],
        "usage": {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(made.token_ids)},
    }


@pytest.fixture
def local_engine(model_folder: Path) -> TransformersEngine:
    model = Qwen3ForCausalLM.from_pretrained(model_folder)
    decoder = AutoTokenizer.from_pretrained(model_folder)
    return TransformersEngine(model, pad_token_id=1, chunk_size=1, decoder=decoder)


@pytest.fixture
def server(local_engine: TransformersEngine) -> Iterator[LoopbackServer]:
    made = LoopbackServer(models={"data": [{"id": "tiny", "max_model_len": 4096}]})
    made.answer = lambda body: completion_reply(made, local_engine, body)
    with made.running():
        yield made
