"""What a run was begun with, as its checkpoints record it: data by content, model by revision.

A run that is resumed with other data would draw other prompts under the same positions; the
prompts' template is `srl_grpo.data.prompting`'s.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from transformers import PreTrainedModel

from srl_data.command.errors import ConfigError
from srl_data.files import sha256_file
from srl_grpo.config.run import RunConfig
from srl_grpo.config.sections import PromptSection
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


def sha256_of(data: PromptSection, part: Part) -> str | None:
    """Of a part's file, or what else tells its content (a commit); None of made data."""
    if data.path is None and (part == "train" or data.val_path is None):
        return None
    return identity_of(open_part(data, part))


def name_of_model(config: RunConfig) -> str:
    """The model's hub id, its absolute path where it is a folder, or its options if it is built."""
    if config.model.build is not None:
        return f"built with {config.model.build.model_dump_json()}, seed {config.seed}"
    path = str(config.model.path)
    return str(Path(path).resolve()) if Path(path).is_dir() else path


@dataclass(frozen=True)
class DataPart:
    """The training records or the held-out ones."""

    sha256: str | None
    """Of the content; None for data made on the spot."""
    records: int
    """Those left out for their length not counted."""


def describe_inputs(
    config: RunConfig, model: PreTrainedModel, train: DataPart, val: DataPart | None
) -> Inputs:
    """The inputs of a run about to start."""
    return Inputs(
        train_sha256=train.sha256,
        train_prompts=train.records,
        val_sha256=None if val is None else val.sha256,
        val_prompts=None if val is None else val.records,
        eval_limit=config.evaluation.eval_limit,
        synthetic=config.made,
        model=name_of_model(config),
        revision=config.model.revision,
        commit=getattr(model.config, "_commit_hash", None),
        reward_sha256=reward_files(config),
    )


def reward_files(config: RunConfig) -> dict[str, str]:
    """The checksum of each file that a reward of the user's own comes from; they are loaded."""
    files = {spec: source_file(spec) for spec in config.user_code}
    return {spec: sha256_file(path) for spec, path in files.items() if path is not None}


def changed_rewards(before: Inputs | None, config: RunConfig) -> list[str]:
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
