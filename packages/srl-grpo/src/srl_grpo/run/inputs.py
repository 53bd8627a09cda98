"""What a run was begun with, as its checkpoints record it: data by content, model by revision.

A run that is resumed with other data would draw other prompts under the same positions; the
prompts' template is `srl_grpo.data.prompting`'s.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict
from transformers import PreTrainedModel

from srl_data.command.errors import ConfigError
from srl_data.files import sha256_file
from srl_grpo.config.train import TrainConfig
from srl_grpo.data.parts import Part, identity_of, open_part
from srl_reward.user_code import source_file


class Inputs(BaseModel):
    """Data and model of a run."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())
    train_sha256: str | None = None
    """Of the training file; None for data made on the spot."""
    train_prompts: int
    """Prompts drawn from, those left out for their length not counted."""
    val_sha256: str | None = None
    val_prompts: int | None = None
    """Prompts of an evaluation; None where there is none."""
    eval_limit: int | None = None
    synthetic: dict[str, object] | None = None
    """Options and seed of data made on the spot."""
    model: str
    """Hub id or path of the model that training began with."""
    revision: str | None = None
    """The revision that was asked for."""
    commit: str | None = None
    """The hub's commit that it resolved to; None for a local model."""
    reward_sha256: dict[str, str] = {}
    """Of the files with the user's own rewards, by how the config names each reward."""


NAMES = {
    "train_sha256": "the training data's sha256",
    "train_prompts": "its number of prompts",
    "val_sha256": "the held-out data's sha256",
    "val_prompts": "its number of held-out prompts",
    "synthetic": "the data made on the spot",
    "model": "the model",
    "revision": "the model's revision",
}
"""What differences are called."""


def sha256_of(config: TrainConfig, part: Part) -> str | None:
    """Of a part's file, or what else tells its content (a commit); None of made data."""
    data = config.data
    if data.path is None and (part == "train" or data.val_path is None):
        return None
    return identity_of(open_part(data, part))


def name_of_model(config: TrainConfig) -> str:
    """The model's hub id, its absolute path where it is a folder, or its options if it is built."""
    if config.model.build is not None:
        return f"built with {config.model.build.model_dump_json()}, seed {config.seed}"
    path = str(config.model.path)
    return str(Path(path).resolve()) if Path(path).is_dir() else path


def describe_inputs(
    config: TrainConfig, model: PreTrainedModel, prompts: int, held_out: int | None
) -> Inputs:
    """The inputs of a run about to start; reads the data files once more for their checksums."""
    made = None
    if config.synthetic is not None:
        made = config.synthetic.model_dump(mode="json") | {"seed": config.seed}
    return Inputs(
        train_sha256=sha256_of(config, "train"),
        train_prompts=prompts,
        val_sha256=sha256_of(config, "eval"),
        val_prompts=held_out,
        eval_limit=config.evaluation.eval_limit,
        synthetic=made,
        model=name_of_model(config),
        revision=config.model.revision,
        commit=getattr(model.config, "_commit_hash", None),
        reward_sha256=reward_files(config),
    )


def reward_files(config: TrainConfig) -> dict[str, str]:
    """The checksum of each file that a reward of the user's own comes from; they are loaded."""
    files = {spec: source_file(spec) for spec in config.reward.reward if ":" in spec}
    return {spec: sha256_file(path) for spec, path in files.items() if path is not None}


def changed_rewards(before: Inputs | None, config: TrainConfig) -> list[str]:
    """`file of the reward old -> new` for each file that is another than the run began with."""
    old = before.reward_sha256 if before is not None else {}
    return [
        f"file of the reward {spec} {short(old[spec])} -> {short(now)}"
        for spec, now in reward_files(config).items()
        if spec in old and old[spec] != now
    ]


def differences(before: Inputs, now: Inputs) -> list[str]:
    """`what before -> now` for each input that is another; held-out data may come or go."""
    old, new = before.model_dump(), now.model_dump()
    names = dict(NAMES)
    for name in ("val_sha256", "val_prompts"):
        if old[name] is None or new[name] is None:
            del names[name]
    if before.eval_limit != now.eval_limit:
        names.pop("val_prompts", None)
    return [
        f"{label} {short(old[name])} -> {short(new[name])}"
        for name, label in names.items()
        if old[name] != new[name]
    ]


def short(value: object) -> str:
    """A checksum by its first characters, anything else whole."""
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 and " " not in text else text


def check_inputs(before: Inputs | None, now: Inputs, checkpoint: Path, force: bool) -> Inputs:
    """The inputs to record from here on; ConfigError where they are not those of before.

    The commit stays the one that training began with: on resuming, no hub is asked for the model.
    """
    if before is None:
        return now
    changed = differences(before, now)
    if changed and not force:
        raise ConfigError(
            f"--resume {checkpoint}: the run began with other inputs: {'; '.join(changed)}; "
            "give what it began with, or --force where the change is meant"
        )
    same_model = (before.model, before.revision) == (now.model, now.revision)
    return now.model_copy(update={"commit": before.commit if same_model else None})
