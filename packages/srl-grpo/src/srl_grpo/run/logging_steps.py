"""Which steps are shown: what --logging-steps means to the display and to the trackers."""


def is_shown(step: int, every: int, first: int) -> bool:
    """Whether a step is the first one, or one of every `every`; the last is its user's to show."""
    return step == first or step % every == 0
