"""What utils.evaluation.feature_file keeps when a write fails; test_features.py has the rest."""

import errno
from pathlib import Path

import numpy as np
import pytest

from models.errors import UserError
from utils.evaluation import feature_file
from utils.evaluation.feature_file import CROPS, EMBEDDING_DIM, FeatureFile


def values(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)[:, None, None].repeat(CROPS, axis=1).repeat(EMBEDDING_DIM, axis=2)


def test_a_full_disk_is_one_line_and_what_was_written_before_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [tmp_path / f"{i}.png" for i in range(4)]
    for image in images:
        image.write_bytes(b"content")
    file = FeatureFile(tmp_path / "kept.float32", images)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with file.open_record() as record:
        file.write(record, [3, 0], values(3, 0), truncated=[3])
        with monkeypatch.context() as patch:
            patch.setattr(feature_file.os, "fsync", full)
            with pytest.raises(UserError, match=r"kept\.float32: cannot be written \(.*No space left") as error:
                file.write(record, [1], values(1), truncated=[])
    assert "\n" not in str(error.value)
    again = FeatureFile(tmp_path / "kept.float32", images)
    assert (again.missing(), again.truncated()) == ([1, 2], [3])
    np.testing.assert_array_equal(again.read()[[0, 3]], values(0, 3))
