"""One self-contained HTML file about a run: curves, where the time went, sample rollouts.

Reads what the run directory holds and works with what is there: interrupted runs, supervised runs
without rewards, runs with a before-and-after summary. Nothing is fetched from a network, model
text is escaped wherever it stands, and the size is bounded by sampling, which the page admits.
"""

from srl_grpo.report.page import write_report

__all__ = ["write_report"]
