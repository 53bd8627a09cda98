"""The engine's gradients against plain torch's. Run by torchrun, this module is what ranks do."""

import subprocess
import sys

import pytest
import torch

from srl_grpo.learner import distributed
from srl_grpo.learner.audit import (
    ARRANGEMENTS,
    LIMITS,
    Arrangement,
    Reading,
    audit_gradients,
    widened,
)
from srl_grpo.learner.engine import TrainingEngine

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
MOST_CUT = tuple(a for a in ARRANGEMENTS if a.micro_batches == 4)


def beyond(readings, limit):
    return [str(reading) for reading in readings if not reading.holds(limit)]


def test_every_stage_offload_and_number_of_micro_batches_is_audited():
    seen = {(a.zero_stage, a.offload, a.micro_batches, a.packing) for a in ARRANGEMENTS}
    stages = [(0, False), *((stage, off) for stage in (1, 2, 3) for off in (False, True))]
    assert seen == {(*s, n, p) for s in stages for n in (1, 2, 4) for p in (False, True)}


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_gradients_of_micro_batches_are_those_of_plain_torch_in_every_arrangement(world, name):
    dtype = DTYPES[name]
    assert beyond(audit_gradients(world, dtype, MOST_CUT), LIMITS[dtype]) == []


def test_bfloat16_lies_within_the_rounding_of_its_activations(world):
    chosen = [a for a in MOST_CUT if a.zero_stage in (1, 2) and not a.packing]
    readings = audit_gradients(world, torch.bfloat16, chosen)
    assert beyond(readings, 0.05) == []
    assert all(reading.accumulated > 1e-4 for reading in readings)


@pytest.mark.parametrize("arrangement", [a for a in MOST_CUT if not a.packing], ids=str)
def test_a_lost_micro_batch_is_seen(world, monkeypatch, arrangement):
    losses = []

    def all_but_the_second(self, loss):
        losses.append(loss)
        backward(self, loss * (0 if len(losses) == 2 else 1))

    backward = TrainingEngine.backward
    monkeypatch.setattr(TrainingEngine, "backward", all_but_the_second)
    (reading,) = audit_gradients(world, arrangements=[arrangement])
    assert len(losses) == 4
    assert reading.accumulated > 0.05
    assert reading.taken > 0.05


def test_a_reading_holds_what_was_taken_too_and_never_a_nan():
    plain = Arrangement(zero_stage=2, offload=True, micro_batches=4, packing=True)
    assert str(plain) == "ZeRO-2, offload, 4 micro-batches, packed"
    assert Reading(plain, 1e-7, 1e-7, "x").holds(1e-6)
    assert not Reading(plain, 1e-7, 1e-5, "x").holds(1e-6)
    assert not Reading(plain, 1e-5, 1e-7, "x").holds(1e-6)
    assert not Reading(plain, float("nan"), 1e-7, "x").holds(1e-6)


def test_float32_is_float32_again_after_widening():
    before = torch.float32, torch.float, torch.Tensor.float
    with widened():
        assert torch.ones(1, dtype=torch.float32).dtype.itemsize == 8
    assert (torch.float32, torch.float, torch.Tensor.float) == before
    assert torch.ones(1).float().dtype.itemsize == 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("processes", [1, 2])
def test_all_arrangements_hold_over_processes(environment, processes, name):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), __file__, name]
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert f"{len(ARRANGEMENTS)} arrangements hold" in result.stdout


def main(name: str) -> int:
    world = distributed.start()
    failed = beyond(audit_gradients(world, DTYPES[name]), LIMITS[DTYPES[name]])
    if world.is_main:
        print("\n".join(failed) or f"{len(ARRANGEMENTS)} arrangements hold")
    world.barrier()  # a rank that left early would abort the others at their exit
    distributed.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
