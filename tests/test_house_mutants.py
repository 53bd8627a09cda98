"""scripts/mutants.py: its list fits the code, and it tells a seen fault from one that survives."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType

import pytest

TOY = """\
def double(x: int) -> int:
    return (
        x * 2
    )


def half(x):
    return x / 2
"""
TESTS = "from toy import double\n\n\ndef test_double():\n    assert double(3) == 6\n"
FAULT = """
[[fault]]
name = "adds"
package = "toy"
find = "return ( x * 2 )"
replace = "return x + 2"
seen_by = ["test_double"]
"""


@pytest.fixture(scope="module")
def mutants(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutants", root / "scripts" / "mutants.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def toy(tmp_path: Path, root: Path):
    """Runs the script over a checkout of one function, with a list of its own."""
    package = tmp_path / "packages" / "toy" / "src" / "toy"
    tests = tmp_path / "packages" / "toy" / "tests"
    package.mkdir(parents=True)
    tests.mkdir()
    (package / "__init__.py").write_text(TOY)
    (tests / "test_toy.py").write_text(TESTS)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")

    def run(text: str, *arguments: str) -> CompletedProcess[str]:
        listed = tmp_path / "mutants.toml"
        listed.write_text(text)
        command = [sys.executable, str(root / "scripts" / "mutants.py"), "--root", str(tmp_path)]
        done = subprocess.run(
            [*command, "--file", str(listed), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (package / "__init__.py").read_text() == TOY, "the checkout is not touched"
        return done

    return run


def test_every_fault_fits_the_code_and_names_tests_that_exist(
    mutants: ModuleType, root: Path, tmp_path: Path
) -> None:
    known = mutants.read_list(root / "scripts" / "mutants.toml")
    assert len(known.faults) > 50
    mutants.copy_packages(root, tmp_path)
    for fault in known.faults:
        path, changed = mutants.apply(fault, tmp_path)
        assert changed != path.read_text()
        for name in fault.seen_by:
            file = mutants.find_test(name, root).partition("::")[0]
            assert (root / file).is_file()


def test_a_sample_is_the_same_for_a_seed(mutants: ModuleType, root: Path) -> None:
    faults = mutants.read_list(root / "scripts" / "mutants.toml").faults
    first, again, other = (mutants.chosen(faults, [], 10, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first)) == 10


def test_seen_faults_and_survivors_are_told_apart(toy) -> None:
    done = toy(FAULT + FAULT.replace('"adds"', '"squares"').replace("x + 2", "2 * x"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "survives: squares: none of test_double failed" in done.stdout
    assert "1 of 2 faults seen" in done.stdout


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("x * 2", "x * 3", "fault 'adds': its text is found 0 times in toy (nowhere)"),
        ("return ( x * 2 )", "return", "fault 'adds': its text is found 2 times in toy"),
        ("return x + 2", "return (", "fault 'adds': __init__.py does not compile"),
        ("test_double", "test_triple", "test 'test_triple' is defined in 0 test files"),
        ('package = "toy"', "", "fault 'adds': expected"),
        (FAULT, FAULT * 2, "named twice: adds"),
        (FAULT, FAULT + '[[retired]]\nname = "old"\n', "needs its name and a reason"),
    ],
)
def test_an_entry_that_no_longer_fits_is_an_error_that_names_it(
    toy, old: str, new: str, reason: str
) -> None:
    done = toy(FAULT.replace(old, new))
    assert done.returncode == 2
    assert reason in done.stderr


def test_tests_that_fail_without_any_fault_are_told(toy) -> None:
    done = toy(FAULT.replace('["test_double"]', '["test_double[1]"]'))
    assert done.returncode == 2
    assert "the tests do not pass without a fault" in done.stderr


def test_an_unknown_name_is_refused_and_a_known_one_chosen(toy) -> None:
    assert "no fault is named 'other'" in toy(FAULT, "other").stderr
    assert toy(FAULT, "--list").stdout == "adds: test_double\n"
