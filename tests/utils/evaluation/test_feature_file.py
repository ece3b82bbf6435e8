"""What utils.evaluation.feature_file keeps when a write fails; test_features.py has the rest."""

import errno
import os
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

    file.write([3, 0], values(3, 0), truncated=[3])
    with monkeypatch.context() as patch:
        patch.setattr(feature_file.os, "fsync", full)
        with pytest.raises(UserError, match=r"kept\.float32: cannot be written \(.*No space left") as error:
            file.write([1], values(1), truncated=[])
    assert "\n" not in str(error.value)
    again = FeatureFile(tmp_path / "kept.float32", images)
    assert (again.missing(), again.truncated()) == ([1, 2], [3])
    np.testing.assert_array_equal(again.read()[[0, 3]], values(0, 3))


DAMAGED = (b"", b"\x93NUMPY", b"\x93NUMPY\x01\0\x08\0{'a': (\n", b"any", np.zeros(4).tobytes())


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_states_are_no_states(tmp_path: Path, damage: bytes) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(b"content")
    file = FeatureFile(tmp_path / "kept.float32", [image])
    file.write([0], values(1), truncated=[])
    assert file.missing() == []
    file.states_path.write_bytes(damage)
    file = FeatureFile(tmp_path / "kept.float32", [image])
    assert file.missing() == [0]
    file.write([0], values(2), truncated=[0])
    assert (file.missing(), file.truncated()) == ([], [0])


def test_a_kill_between_features_and_states_leaves_no_features_of_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image was replaced, its extraction killed, and the image put back: the features were those of the other."""
    image = tmp_path / "a.png"
    image.write_bytes(b"content")
    before = image.stat()
    FeatureFile(tmp_path / "kept.float32", [image]).write([0], values(1), truncated=[])
    image.write_bytes(b"another")
    changed = FeatureFile(tmp_path / "kept.float32", [image])

    def killed(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(feature_file.os, "fsync", killed)
        changed.write([0], values(2), truncated=[])
    image.write_bytes(b"content")
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert FeatureFile(tmp_path / "kept.float32", [image]).missing() == [0]
