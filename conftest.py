"""`--runslow`, as many projects have it: the slow tests too."""

import pytest

SLOW_OUT = "not slow and "
"""What the marker expression in pyproject.toml begins with."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Know the flag."""
    parser.addoption(
        "--runslow", "--run-slow", action="store_true", help="run the tests marked slow too"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Take slow tests in, unless `-m` on the command line says otherwise."""
    shipped = next((word for word in config.getini("addopts") if word.startswith(SLOW_OUT)), None)
    if config.getoption("--runslow") and config.option.markexpr == shipped:
        config.option.markexpr = shipped.removeprefix(SLOW_OUT)
