"""Several real vLLM engines in processes of their own, on a CPU, as one."""

import os
import signal
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from srl_data.command.errors import DataError
from srl_eval.generate import Sampling, TransformersEngine
from srl_eval.generate.folders import ModelSource
from srl_eval.generate.options import VllmOptions
from srl_eval.generate.vllm import EngineError
from srl_eval.generate.vllm_separate import SeparateVllmEngine

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2 of one layer with heads that vLLM has a kernel for."""
    folder = tmp_path_factory.mktemp("model")
    sizes = {"hidden_size": 128, "num_attention_heads": 2, "num_key_value_heads": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = Qwen2Config(vocab_size=300, num_hidden_layers=1, intermediate_size=64, **sizes)
        Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def test_two_processes_answer_as_transformers_and_one_that_dies_is_told(model: Path) -> None:
    from srl_eval.generate.vllm_processes import start_vllm_processes

    options = VllmOptions(chunk_size=8, max_model_len=64, extra={"skip_tokenizer_init": True})
    engine = start_vllm_processes(ModelSource(str(model)), options, 2)
    try:
        rows = [[5 + n, 7, 11 * n] for n in range(7)]
        found = engine.generate(rows, Sampling(6, temperature=0.0), range(7))
        plain = TransformersEngine(Qwen2ForCausalLM.from_pretrained(model), pad_token_id=0)
        expected = plain.generate(rows, Sampling(6, temperature=0.0), range(7))
        assert [row.token_ids for row in found] == [row.token_ids for row in expected]
        drawn = engine.generate([rows[0]] * 8, Sampling(6), range(8))
        assert engine.generate([rows[0]] * 8, Sampling(6), range(8)) == drawn
        assert len({row.token_ids for row in drawn}) == 8
        one = SeparateVllmEngine(
            engine._workers[0], 8, 64, None
        )  # the way a trainer asks one of them
        one.weights_version = 7
        again = one.generate(rows, Sampling(6, temperature=0.0), range(7))
        assert [row.token_ids for row in again] == [row.token_ids for row in expected]
        assert {row.weights_version for row in again} == {7}
        with pytest.raises(EngineError, match="Weight transfer not configured"):
            one.start_weight_update()
        process = engine._workers[1]._process
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(EngineError, match=r"a process of vLLM ended \(exit code -9\)"):
            engine.generate(rows, Sampling(6), range(7))
    finally:
        engine.close()


def test_a_model_that_cannot_run_is_told_by_its_process(tmp_path: Path) -> None:
    from srl_eval.generate.vllm_processes import start_vllm_processes

    sizes = {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = Qwen2Config(vocab_size=300, num_hidden_layers=1, intermediate_size=64, **sizes)
    Qwen2ForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(DataError, match="attention heads of size 16"):
        start_vllm_processes(ModelSource(str(tmp_path)), VllmOptions(), 1)
