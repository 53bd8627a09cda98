"""The supervised stage that a run on data made on the spot begins with, in `sft/` of its folder.

An ordinary run of `srl-grpo sft` on pairs that are written there: it can be resumed, reported on
and started from like any other. What is taught is `srl_grpo.toy`'s.
"""

from dataclasses import replace
from pathlib import Path

from srl_data.command.config import read_tree
from srl_data.command.errors import ConfigError, DataError
from srl_data.lock import FolderLock
from srl_grpo.config.sections import EngineSection, EvaluationSection, TrackingSection
from srl_grpo.config.sft import SftCheckpointSection, SftConfig, SftOptimizerSection
from srl_grpo.config.sft_data import SftDataSection
from srl_grpo.config.train import TrainConfig
from srl_grpo.learner.distributed import World
from srl_grpo.rollout.colocated import check_backend
from srl_grpo.run.checkpoint import verify
from srl_grpo.run.directory import RunDirectory, default_run_path
from srl_grpo.run.prompted_model import model_section
from srl_grpo.run.resume import FINAL, changed_keys
from srl_grpo.run.start import StartingPoint
from srl_grpo.stages.running import Command, run_to_end
from srl_grpo.stages.sft_setup import open_sft
from srl_grpo.toy.pairs import THINKING, write_pairs

STAGE = "sft"
PAIRS = "pairs.jsonl"
ROWS = {"packing": True, "micro_batch_tokens": 2048, "gradient_accumulation_steps": None}
"""How a batch of pairs is cut: packed rows as wide as its longest pair, which make one pass of the
quickstart's 32 pairs."""


def sft_first(
    config: TrainConfig, world: World, start: StartingPoint
) -> tuple[TrainConfig, StartingPoint]:
    """Run the supervised stage of a fresh run that asks for one; its model is what it starts from.

    A run that was stopped in it goes on there; one that has a checkpoint is past it.
    """
    if start.checkpoint is not None or not config.warm_start.steps:
        return config, start
    section = model_section(config, start)  # not after it has been trained
    world.of_main(lambda: check_backend(config, section, world))
    home = world.of_main(lambda: config.output_dir or default_run_path())
    config = config.model_copy(update={"output_dir": home})
    first = first_config(config, home)
    world.of_main(lambda: check_first(config, first, home))
    final = home / STAGE / FINAL
    if not (config.checkpoint.resume and world.of_main(lambda: is_whole(final))):
        run_first(config, first, world, home)
    return config, replace(start, model=final)


def is_whole(folder: Path) -> bool:
    """Whether a folder is a checkpoint."""
    try:
        verify(folder)
    except DataError:
        return False
    return True


def check_first(config: TrainConfig, first: SftConfig, home: Path) -> None:
    """ConfigError where the folder holds another run, or a supervised stage of other options."""
    run, stage = RunDirectory(home), RunDirectory(home / STAGE)
    if not config.checkpoint.resume:
        if run.holds_run() or stage.holds_run():
            raise ConfigError(
                f"--output-dir {home} already holds a run; continue it with --resume auto, or "
                "give another --output-dir"
            )
        return
    if stage.config.is_file() and (changes := changed_keys(read_tree(stage.config), first)):
        raise ConfigError(
            f"the supervised stage in {stage.path} was begun with other options: "
            f"{'; '.join(changes)}; resume with what it began with, or give another --output-dir"
        )


def run_first(config: TrainConfig, first: SftConfig, world: World, home: Path) -> None:
    """Write the pairs and train on them. Collective."""
    lock = FolderLock()
    world.of_main(lambda: write_pairs(Path(str(first.data.path)), config))
    try:
        run_to_end(first, Command(open_sft), world, lock, home)
    finally:
        lock.release()


def first_config(config: TrainConfig, home: Path) -> SftConfig:
    """The config of the supervised stage of a run in `home`."""
    options, folder = config.warm_start, home / STAGE
    return SftConfig(
        output_dir=folder,
        num_steps=options.steps,
        batch_size=options.batch_size,
        seed=config.seed,
        model=config.model,
        data=SftDataSection(
            path=str(folder / PAIRS),
            template=config.data.template,
            thinking_field=THINKING,
            max_seq_len=config.longest,
            chat_template=config.data.chat_template,
            chat_template_kwargs=config.data.chat_template_kwargs,
        ),
        optimizer=SftOptimizerSection(learning_rate=options.learning_rate, schedule="linear"),
        engine=EngineSection.model_validate(config.engine.model_dump() | ROWS),
        evaluation=EvaluationSection(),
        checkpoint=SftCheckpointSection(
            checkpoint_every=options.steps // 4, resume="auto" if config.checkpoint.resume else None
        ),
        tracking=TrackingSection(
            tensorboard=config.tracking.tensorboard,
            logging_steps=max(config.tracking.logging_steps, options.steps // 20),
        ),
        launch=config.launch,
    )
