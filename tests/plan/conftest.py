import csv
from pathlib import Path

import pytest

from burnish import models
from tests.tiny import tiny_model, tiny_rows, tiny_tokenizer


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """The tiny model without its head, as a pretrained encoder lies on disk."""
    folder = tmp_path_factory.mktemp("model")
    model = tiny_model()
    model.config.architectures = ["BertModel"]
    models.save(model, tiny_tokenizer(), folder)
    return folder


@pytest.fixture(scope="session")
def tiny_csv(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows((row.text, row.target) for row in tiny_rows(260))
    return path
