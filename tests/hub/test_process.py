"""What every process of the hub does when it starts: it belongs to its supervisor, and to no other."""

import os

import pytest

from northbound.hub.process import PARENT_VARIABLE, leave_with_parent


def test_a_process_whose_supervisor_is_gone_leaves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """S1: the supervisor died while the process was being loaded; the next hub must not find a second writer."""
    monkeypatch.setenv(PARENT_VARIABLE, str(os.getppid() + 1))

    with pytest.raises(SystemExit) as left:
        leave_with_parent()

    assert left.value.code == 0
