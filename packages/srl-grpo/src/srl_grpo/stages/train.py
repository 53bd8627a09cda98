"""`srl-grpo train`, `sft` and `expert-iteration` behind their validation."""

from collections.abc import Iterator
from contextlib import contextmanager

from srl_data.lock import FolderLock
from srl_grpo.config.expert import ExpertConfig
from srl_grpo.config.sft import SftConfig
from srl_grpo.config.train import TrainConfig
from srl_grpo.heldout.before_after import BeforeAfter
from srl_grpo.learner.distributed import World
from srl_grpo.run.session import Session
from srl_grpo.run.start import StartingPoint
from srl_grpo.stages.expert_setup import open_expert
from srl_grpo.stages.first_stage import sft_first
from srl_grpo.stages.rl import RLStage
from srl_grpo.stages.rl_setup import open_stage
from srl_grpo.stages.running import Command, opened, run
from srl_grpo.stages.sft_setup import open_sft

TRAIN = Command(open_stage, sft_first)
SFT = Command(open_sft)
EXPERT = Command(open_expert)


def train(config: TrainConfig) -> None:
    """Run or continue the reinforcement learning that `config` describes, to its end.

    Raises ConfigError, DataError, or InterruptedRunError with the command that resumes.
    """
    run(config, TRAIN)


def sft(config: SftConfig) -> None:
    """Run or continue the supervised fine-tuning that `config` describes, to its end.

    Raises ConfigError, DataError, or InterruptedRunError with the command that resumes.
    """
    run(config, SFT)


def expert_iteration(config: ExpertConfig) -> None:
    """Run or continue the expert iteration that `config` describes, to its end.

    Raises ConfigError, DataError, or InterruptedRunError with the command that resumes.
    """
    run(config, EXPERT)


@contextmanager
def open_run(
    config: TrainConfig,
    world: World,
    found: StartingPoint | None = None,
    held: FolderLock | None = None,
) -> Iterator[tuple[Session[TrainConfig], RLStage, BeforeAfter]]:
    """Everything of a run of reinforcement learning, ready to start; see `running.opened`."""
    with opened(config, TRAIN, world, found, held) as (session, stage, comparison):
        yield session, stage, comparison
