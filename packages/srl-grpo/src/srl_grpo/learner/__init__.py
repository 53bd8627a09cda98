"""Samples and a loss in, an optimizer step out; knows no rollout, stage or run."""
