"""Evaluation on held-out data while training, and before against after."""
