"""The arms of `compare_stages.py`: what each starts from, and its command."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

START = "start"

MODEL = Path(__file__).with_name("compare_stages_model.yaml")
ADAM = "--betas '[0.9, 0.99]' --schedule linear"
QUIET = "--no-tensorboard --logging-steps 20 --checkpoint-every 0"
STEP = "--template {data}/chain.step.txt --chat-template off"
WHOLE = "--template {data}/chain.whole.txt --chat-template off"
SFT = (
    f"srl-grpo sft --model {{start}} --data {{data}}/chain.jsonl {STEP} "
    "--max-seq-len 192 --packing --micro-batch-tokens 2048 --batch-size 64 --num-steps {steps} "
    f"--lr {{lr}} {ADAM} {QUIET} --seed {{seed}} --output-dir {{run}}"
)
RL = (
    "--eps-std 0.01 --num-steps {steps} --warmup-steps 5 --group-size 8 --chunk-size 128 "
    f"--max-rounds 12 --lr {{lr}} {ADAM} {QUIET} --seed {{seed}} --output-dir {{run}}"
)
SRL = (
    f"srl-grpo train --model {{start}} --data {{data}}/chain.jsonl {STEP} "
    f"--max-prompt-length 128 --max-new-tokens 40 --batch-size 32 {RL}"
)
RLVR = (
    "srl-grpo train --model {start} --data {data}/chain.answers.jsonl --reward answer "
    f"{WHOLE} --max-prompt-length 64 --max-new-tokens 208 --batch-size 8 {RL}"
)
EXPERT = (
    "srl-grpo expert-iteration --model {start} --data {data}/chain.answers.jsonl --reward answer "
    f"{WHOLE} --max-prompt-length 64 --max-new-tokens 208 --batch-size 100 --num-rollouts 8 "
    "--chunk-size 128 --n-ei-steps {steps} --when-none-right continue --sft-epochs 4 "
    "--sft-batch-size 16 --lr {lr} --betas '[0.9, 0.99]' "
    f"{QUIET} --save-final-only --seed {{seed}} --output-dir {{run}}"
)
WARM = (
    "srl-grpo sft {model} --data {data}/chain.warmup.jsonl --template question_only "
    "--max-seq-len 320 --packing --micro-batch-tokens 2048 --batch-size 64 --num-epochs 1 "
    f"--lr {{lr}} {ADAM} --warmup-steps {{rise}} {QUIET} --seed 0 --output-dir {{run}}"
)


@dataclass(frozen=True)
class Command:
    """A command line, to be run as it stands."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        """As it is typed."""
        return shlex.join(self.words)

    def main(self) -> None:
        """Run it in this process, whose arguments are its words."""
        if self.words[0] == "srl-data":
            from srl_data.cli import main
        elif self.words[0] == "srl-eval":
            from srl_eval.cli import main
        else:
            from srl_grpo.cli import main
        main()


def command(text: str, **values: object) -> Command:
    """The command of a text with fields."""
    return Command(tuple(shlex.split(text.format(**values))))


@dataclass(frozen=True)
class Arm:
    """One way from a start to a model."""

    name: str
    label: str
    start: str
    text: str
    steps: int = 0

    def command(
        self, data: Path, start: Path, rates: Mapping[str, float], seed: int, run: Path
    ) -> Command:
        """The command that trains it."""
        return command(
            self.text,
            data=data,
            start=start,
            lr=f"{rates[self.name]:g}",
            steps=self.steps,
            seed=seed,
            run=run,
        )


BARE = f"{SFT} --thinking-text -"
WORKING = f"{SFT} --thinking-field thinking"
ARMS = {
    arm.name: arm
    for arm in (
        Arm(START, "untrained", START, ""),
        Arm("bare", "SFT, bare steps", START, BARE, 120),
        Arm("working", "SFT, steps with the working in the thinking", START, WORKING, 120),
        Arm("expert", "expert iteration", START, EXPERT, 5),
        Arm("rlvr", "RLVR", START, RLVR, 20),
        Arm("srl", "SRL", START, SRL, 80),
        Arm("srl_rlvr", "SRL, then RLVR", "srl", RLVR, 20),
        Arm("rlvr_twice", "RLVR for twice the time", "rlvr", RLVR, 20),
        Arm("srl_twice", "SRL for twice the time", "srl", SRL, 80),
        Arm("sft_rlvr", "SFT with the working, then RLVR", "working", RLVR, 20),
    )
}
"""Every arm by its name, each after the one that it starts from. Another arm is another line: its
command leaves its model in `{run}/final`."""

CHOICES = {
    "bare": (1e-4, 5e-4, 2e-3),
    "working": (1e-4, 5e-4, 2e-3),
    "expert": (1e-4, 5e-4, 2e-3),
    "rlvr": (1.5e-4, 3e-4, 6e-4),
    "srl": (1.25e-4, 2.5e-4, 5e-4),
    "srl_rlvr": (1.5e-4, 3e-4, 6e-4),
}
"""Learning rates that `--choose` tries."""
SECONDS = {"rlvr_twice": "rlvr", "srl_twice": "srl", "sft_rlvr": "srl_rlvr"}
"""Second phases, which take the rate that was chosen for another arm."""


@dataclass(frozen=True)
class Phase:
    """One run of supervised training on the way to the start model."""

    name: str
    drills: int
    sloppy: int
    rate: float
    rise: int

    def command(self, data: Path, before: Path | None, run: Path) -> Command:
        """The command that trains it, from the phase before."""
        model = f"--config {MODEL}" if before is None else f"--model {before}/final"
        rate = f"{self.rate:g}"
        return command(WARM, model=model, data=data, lr=rate, rise=self.rise, run=run)


PHASES = (
    Phase("stream", 6_400, 38_400, 5e-3, 40),
    Phase("drills", 19_200, 0, 3e-3, 20),
    Phase("again", 0, 8_000, 2e-3, 20),
    Phase("further", 0, 16_000, 2e-3, 20),
)
"""How the start model is made: it reads the stream, drills what it got wrong, and reads on."""


def data_command(path: Path, seed: int, drills: int = 0, sloppy: int = 0) -> Command:
    """The data of a seed, or of a phase."""
    text = "srl-data synth chain --output {path} --seed {seed}"
    if drills or sloppy:
        text += " --num-drills {drills} --num-warmup {sloppy}"
    return command(text, path=path, seed=seed, drills=drills, sloppy=sloppy)


ASK = (
    "srl-eval file --task-file {data}/chain.{held_out}.jsonl --model-path {model} --chunk-size 150 "
    "--output-dir {folder}"
)


def evaluation(text: str) -> Callable[[Path, str, Path, Path], Command]:
    """The command of an evaluation, from data folder, part held out, model and folder."""

    def make(data: Path, held_out: str, model: Path, folder: Path) -> Command:
        return command(f"{ASK} {text}", data=data, held_out=held_out, model=model, folder=folder)

    return make


EVALUATIONS = {
    "steps": evaluation(
        f"--mode stepwise {STEP} --max-step-tokens 40 --max-steps 6 --max-new-tokens 240"
    ),
    "whole": evaluation(f"--mode greedy {WHOLE} --max-new-tokens 208"),
}
"""Every evaluation by its name: the model's own steps, its thoughts forgotten, and one answer."""
