"""Shared by the tests of datasets."""

from __future__ import annotations

import pytest


@pytest.fixture
def no_data_root(monkeypatch):
    """Whatever data this machine has, the test does not see them."""
    monkeypatch.delenv("ZFNB_DATA", raising=False)
