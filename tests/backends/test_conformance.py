"""Every storage keeps every law."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from storages import STORAGES

from northbound.testing.conformance import LAWS, Law, Storage


@pytest.fixture(params=sorted(STORAGES))
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    one = STORAGES[request.param](tmp_path)
    yield one
    one.close()


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law(storage: Storage, law: Law) -> None:
    """A storage keeps what the laws promise."""
    asyncio.run(law(storage))
