"""Seeds and uniforms: stable, independent of neighbours, uniform."""

import subprocess
import sys

import numpy as np
import pytest

from srl_eval.generate import Sampling, seed_array, seed_for, uniforms


def test_seed_is_pinned_so_that_old_runs_can_be_repeated() -> None:
    assert seed_for(0) == 12376274820788113959
    assert seed_for(42, "aime24", 3, 17) == 12656965908628259659


def test_seed_tells_paths_apart_that_read_alike() -> None:
    seeds = {seed_for(0, 1, 23), seed_for(0, 12, 3), seed_for(0, 123), seed_for(0, "1", 23)}
    seeds |= {seed_for(0, "a", "b"), seed_for(0, "ab"), seed_for(0, "a", "", "b"), seed_for(-1)}
    assert len(seeds) == 8


def test_seed_is_the_same_in_another_process() -> None:
    code = "from srl_eval.generate import seed_for; print(seed_for(7, 'x', 2))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(out.stdout) == seed_for(7, "x", 2)


def test_uniforms_match_splitmix64_written_in_plain_integers() -> None:
    def reference(seed: int, position: int) -> float:
        mask = (1 << 64) - 1
        z = (seed + (position + 1) * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        z ^= z >> 31
        return (z >> 12) / 2**52

    seeds = [0, 1, 2**64 - 1, seed_for(3, 1)]
    got = uniforms(seed_array(seeds), 5, 4)
    assert got.tolist() == [[reference(s, p) for p in range(5, 9)] for s in seeds]


def test_uniforms_do_not_depend_on_block_or_neighbours() -> None:
    seeds = seed_array([seed_for(1, row) for row in range(8)])
    whole = uniforms(seeds, 0, 300)
    assert np.array_equal(whole[:, 100:150], uniforms(seeds, 100, 50))
    assert np.array_equal(whole[5:6], uniforms(seeds[5:6], 0, 300))


def test_uniforms_are_uniform_along_and_across_rows() -> None:
    seeds = seed_array([seed_for(9, row) for row in range(200)])
    draws = uniforms(seeds, 0, 200)
    assert draws.min() >= 0.0
    assert draws.max() < 1.0
    counts, _ = np.histogram(draws, bins=100, range=(0.0, 1.0))
    chi_square = float(((counts - 400) ** 2 / 400).sum())
    assert chi_square < 148.2  # 99.9th percentile at 99 degrees of freedom
    assert abs(np.corrcoef(draws[:, 0], draws[:, 1])[0, 1]) < 0.25
    assert abs(np.corrcoef(draws[0], draws[1])[0, 1]) < 0.25


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_new_tokens", 0), ("temperature", -0.1), ("top_p", 0.0), ("top_k", -1), ("min_p", 1.5)],
)
def test_sampling_names_the_bad_value(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value!r}, expected"):
        Sampling(**{"max_new_tokens": 4, field: value})  # type: ignore[arg-type]
