"""The stages of training, each a loop of steps."""
