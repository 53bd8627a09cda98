import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CohereConfig, CohereForCausalLM, Qwen2ForSequenceClassification

from srl_data.command.errors import DataError
from srl_eval.generate import Sampling, TransformersEngine, packed_products
from srl_grpo.config.sections import BuildSection, ModelSection
from srl_grpo.learner.batch import MicroBatch
from srl_grpo.learner.model import prepare_model
from srl_grpo.learner.policy import Policy, check_head
from srl_grpo.objective import logprobs
from srl_grpo.run.prompted_model import make_model

IDS = st.lists(st.integers(2, 22), min_size=1, max_size=6)
ROWS = st.lists(st.tuples(IDS, IDS), min_size=1, max_size=4)


def plain_logprobs(model, prompt, completion, temperature):
    """Each completion token's log-probability, from the model's own logits of the row alone."""
    ids = torch.tensor([[*prompt, *completion]])
    logits = model(input_ids=ids, use_cache=False).logits[0].float() / temperature
    table = torch.log_softmax(logits, dim=-1)
    places = range(len(prompt) - 1, len(prompt) + len(completion) - 1)
    return torch.stack(
        [table[place, token] for place, token in zip(places, completion, strict=True)]
    )


def plain_entropies(model, prompt, completion, temperature):
    ids = torch.tensor([[*prompt, *completion]])
    logits = model(input_ids=ids, use_cache=False).logits[0] / temperature
    places = slice(len(prompt) - 1, len(prompt) + len(completion) - 1)
    return torch.distributions.Categorical(logits=logits[places]).entropy()


@settings(max_examples=25)
@given(rows=ROWS, temperature=st.sampled_from([0.5, 1.0, 1.7]))
def test_padded_rows_score_as_the_plain_model_scores_each_alone(tiny_model, rows, temperature):
    model = tiny_model()
    policy = Policy(tiny_model())
    with torch.no_grad():
        found, entropies = policy(MicroBatch.of_rows(rows, pad_id=1), temperature)
        expected = torch.cat([plain_logprobs(model, *row, temperature) for row in rows])
        expected_entropies = torch.cat([plain_entropies(model, *row, temperature) for row in rows])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(entropies, expected_entropies, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tied", [True, False])
def test_gradients_equal_the_plain_models(tiny_model, monkeypatch, tied):
    monkeypatch.setattr(logprobs, "LOGIT_BYTES", 4 * 23 * 2)
    rows = [([5, 6, 7], [8, 9, 0]), ([3], [4, 0])]
    model, policy = (tiny_model(tie_word_embeddings=tied) for _ in range(2))
    policy = Policy(policy)
    coefficients = torch.tensor([1.0, -2.0, 0.5, 3.0, -1.0])
    (policy(MicroBatch.of_rows(rows, pad_id=1), 0.8)[0] * coefficients).sum().backward()
    expected = torch.cat([plain_logprobs(model, *row, 0.8) for row in rows])
    (expected * coefficients).sum().backward()
    found = dict(policy.model.named_parameters())
    assert ("lm_head.weight" in found) != tied
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name].grad, parameter.grad, rtol=1e-4, atol=1e-4)


def test_tied_embeddings_stay_tied_and_the_model_stays_plain(tiny_model):
    model = tiny_model()
    before = model(input_ids=torch.tensor([[3, 4, 5]])).logits
    policy = Policy(model)
    assert policy.model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert torch.equal(policy.model(input_ids=torch.tensor([[3, 4, 5]])).logits, before)


def test_an_empty_micro_batch_gives_every_parameter_a_zero_gradient(tiny_model):
    policy = Policy(tiny_model(tie_word_embeddings=False))
    found, entropies = policy(MicroBatch.of_rows([], pad_id=1))
    assert found.shape == entropies.shape == (0,)
    found.sum().backward()
    for name, parameter in policy.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


def test_gradient_checkpointing_changes_no_gradient():
    rows = [([5, 6, 7], [8, 9, 0]), ([3], [4, 0])]
    gradients = []
    for checkpointing in (False, True):
        section = ModelSection(build=BuildSection(), gradient_checkpointing=checkpointing)
        policy = Policy(make_model(section, torch.device("cpu"), seed=3)[0])
        policy.train()
        assert policy.model.is_gradient_checkpointing == checkpointing
        policy(MicroBatch.of_rows(rows, pad_id=1))[0].sum().backward()
        gradients.append({name: p.grad for name, p in policy.named_parameters()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name


def test_dropout_is_off_in_training_mode(tiny_model):
    section = ModelSection(build=BuildSection())
    model = prepare_model(tiny_model(attention_dropout=0.5), section, torch.device("cpu"))
    policy = Policy(model).train()
    batch = MicroBatch.of_rows([([5, 6, 7], [8, 9, 0])], pad_id=1)
    assert torch.equal(policy(batch)[0], policy(batch)[0])
    torch.testing.assert_close(policy(batch)[0], Policy(tiny_model())(batch)[0], rtol=0, atol=0)


def test_a_plain_head_passes_the_check(tiny_model):
    check_head(Policy(tiny_model()))


def test_a_model_that_scales_its_logits_is_refused():
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 23}
    config = CohereConfig(**sizes, **heads, logit_scale=0.0625, initializer_range=0.3)
    with pytest.raises(DataError, match="CohereForCausalLM changes its logits after the output"):
        check_head(Policy(CohereForCausalLM(config)))


def test_a_model_without_a_language_head_is_refused(tiny_model):
    model = Qwen2ForSequenceClassification(tiny_model().config)
    with pytest.raises(DataError, match=r"output head NoneType; expected one nn\.Linear"):
        Policy(model)


def test_casting_to_bfloat16_leaves_the_rotary_frequencies_in_float32() -> None:
    section = ModelSection(dtype="bfloat16", build=BuildSection())
    model, _ = make_model(section, torch.device("cpu"), seed=0)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert {b.dtype for name, b in model.named_buffers() if "inv_freq" in name} == {torch.float32}


def test_the_head_is_packed_while_sampling_and_scores_as_before(tiny_model, monkeypatch):
    monkeypatch.setattr(packed_products, "LEAST_WEIGHTS", 0)
    policy = Policy(tiny_model())
    head = policy.model.get_output_embeddings()
    hidden, targets = torch.randn(3, head.in_features), torch.tensor([5, 6, 7])
    inside = []

    def score(module, args, _output):
        if "forward" in vars(module) and len(args) == 1 and not inside:
            inside.append(head(hidden, targets, 0.7))

    before = head(hidden, targets, 0.7)
    handle = head.register_forward_hook(score)
    TransformersEngine(policy.model, pad_token_id=0).generate([[3, 4]], Sampling(16), [1])
    handle.remove()
    assert len(inside) == 1, "the head was not packed"
    assert "forward" not in vars(head)
    for found in (*inside, head(hidden, targets, 0.7)):
        assert all(map(torch.equal, found, before))
