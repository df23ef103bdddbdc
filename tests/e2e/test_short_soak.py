"""A short soak: nine kills of each process; `make soak` is the long one."""

import pytest

import soak

pytestmark = pytest.mark.e2e


def test_nothing_is_lost_doubled_or_swapped_when_processes_are_killed():
    """Nine SIGKILLs of intake, delivery and web each, under load, leave no violation."""
    line, wrong = soak.soak(kills=9, seconds=40, seed=9)

    print(line)
    assert wrong == []
