"""What is trained on: prompts and the order in which they are drawn."""
