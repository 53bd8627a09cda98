"""What is optimised: advantages, losses and log-probabilities, as pure functions of tensors."""
