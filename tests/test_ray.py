"""examples/score_with_ray.py, if Ray is installed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.multi_regressor import MultiRegressorARNIQA
from tests.processes import one_at_a_time

DATASETS = ["kadid10k", "spaq"]
pytestmark = one_at_a_time


@pytest.fixture
def cluster() -> Iterator[None]:
    """A local cluster with one CPU, which the actor takes."""
    ray = pytest.importorskip("ray", reason="NOT TESTED: examples/score_with_ray.py, because ray is not installed")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


def test_the_scores_are_those_of_the_model_and_a_bad_image_has_an_error(
    cluster: None, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyarrow.parquet import read_table

    from examples import score_with_ray

    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for i, path in enumerate(paths):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (97, 131 + i, 3), np.uint8)).save(path)
    paths[2].write_bytes(paths[2].read_bytes()[:200])
    good = [path for path in paths if path != paths[2]]
    listed, out = tmp_path / "files.txt", tmp_path / "scores"
    listed.write_text("".join(f"{path}\n" for path in paths))
    command = ["score_with_ray.py", "--img_list", str(listed), "--out", str(out), "--batch_size", "2"]
    monkeypatch.setattr("sys.argv", [*command, "--weights_dir", str(released), "--regressor_dataset", *DATASETS])
    score_with_ray.main()
    rows = {row["image"]: row for row in read_table(out).to_pylist()}
    assert sorted(rows) == sorted(map(str, paths))
    bad = rows.pop(str(paths[2]))
    assert str(paths[2]) in bad.pop("error") and set(bad.values()) == {str(paths[2]), None}
    expected = MultiRegressorARNIQA(DATASETS, released).score(good).tolist()
    found = [[rows[str(path)][f"score_{dataset}"] for dataset in DATASETS] for path in good]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert all(row["error"] is None for row in rows.values())
