"""`python -m srl_grpo`: what torchrun and the deepspeed launcher start on every rank."""

from srl_grpo.cli import main

if __name__ == "__main__":
    main()
