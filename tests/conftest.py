"""Fixtures that several files share."""

from pathlib import Path

import pytest

from tests.tiny_model import save_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real open_clip model directory with random weights."""
    directory = tmp_path_factory.mktemp("tiny") / "model"
    save_tiny_model(directory)
    return directory
