"""The estimators of the KL divergence as terms of a loss, by enumeration of what may be sampled."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from srl_grpo.objective.loss import policy_loss
from srl_grpo.objective.options import LossOptions
from srl_grpo.objective.tokens import Tokens


@given(st.lists(st.floats(-2, 2), min_size=3, max_size=3), st.sampled_from(["k1", "k3"]))
def test_the_corrected_term_has_the_gradient_of_the_divergence(scores, estimator) -> None:
    """By enumeration: samples of an old policy, each weighed by its probability there."""
    logits = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64, requires_grad=True)
    old = torch.tensor([0.1, 0.4, 0.2], dtype=torch.float64).log_softmax(0)
    reference = torch.tensor(scores, dtype=torch.float64).log_softmax(0)
    policy = logits.log_softmax(0)
    exact = (policy.exp() * (policy - reference)).sum()
    nothing = torch.zeros(3, dtype=torch.float64)
    tokens = Tokens(policy, old, nothing, old.exp(), None, reference)
    options = LossOptions(beta=1.0, kl_estimator=estimator, kl_corrected=True)
    loss, _ = policy_loss("dapo", tokens, options)
    torch.testing.assert_close(loss, exact)
    found, expected = (torch.autograd.grad(x, logits, retain_graph=True)[0] for x in (loss, exact))
    torch.testing.assert_close(found, expected)


@given(st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_the_gradients_of_the_plain_terms_are_what_the_docs_say(scores) -> None:
    """On the policy's own samples k1 pulls nowhere, k2 down the divergence, k3 the other one."""
    reference = torch.tensor(scores, dtype=torch.float64).log_softmax(0)
    forward, backward = "policy to reference", "reference to policy"
    for estimator, meant in (("k1", None), ("k2", forward), ("k3", backward)):
        logits = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64, requires_grad=True)
        policy = logits.log_softmax(0)
        nothing = torch.zeros(3, dtype=torch.float64)
        tokens = Tokens(policy, policy.detach(), nothing, policy.detach().exp(), None, reference)
        loss, _ = policy_loss("dapo", tokens, LossOptions(beta=1.0, kl_estimator=estimator))
        exact = {
            None: 0.0 * policy.sum(),
            forward: (policy.exp() * (policy - reference)).sum(),
            backward: (reference.exp() * (reference - policy)).sum(),
        }[meant]
        found = torch.autograd.grad(loss, logits, retain_graph=True)[0]
        torch.testing.assert_close(found, torch.autograd.grad(exact, logits)[0])
