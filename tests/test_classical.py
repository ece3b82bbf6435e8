import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks import classical


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for brisque, niqe and OpenCV. The features say how bright an image is, and the score falls with it."""
    brisque, niqe, main, cv2 = (ModuleType(name) for name in ("brisque", "niqe", "niqe.main", "cv2"))
    measure = SimpleNamespace(
        calculate_brisque_features=lambda image: np.array([image.mean(), 7.0], dtype=object),
        calculate_image_quality_score=lambda features: float(-features[0]),
    )
    vars(brisque)["BRISQUE"] = lambda: measure
    vars(main).update(compute_features=lambda block: [block.mean(), np.nan], normalize_image=lambda image: image)
    vars(cv2).update(resize=lambda image, *_, **__: image[::2, ::2], INTER_CUBIC=2)
    for module in (brisque, niqe, main, cv2):
        monkeypatch.setitem(sys.modules, module.__name__, module)


def write_dataset(folder: Path) -> None:
    """Thirty grey images whose score is their brightness."""
    folder.mkdir()
    shades = range(40, 220, 6)
    for shade in shades:
        Image.fromarray(np.full((100, 200, 3), shade, np.uint8)).save(folder / f"{shade}.png")
    pd.DataFrame({"image": [f"{shade}.png" for shade in shades], "score": shades}).to_csv(
        folder / "labels.csv", index=False
    )


@pytest.mark.filterwarnings("ignore:All-NaN slice", "ignore:Mean of empty", "ignore:Degrees of freedom")
@pytest.mark.usefixtures("packages")
def test_metrics_that_know_the_score_rank_every_test_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dataset(tmp_path / "shades")
    monkeypatch.setattr("sys.argv", ["classical", "--data_base_path", str(tmp_path), "--dataset", "shades"])
    classical.main()
    lines = capsys.readouterr().out.splitlines()[-3:]
    assert [text.split(":")[0] for text in lines] == [
        "ridge regression on BRISQUE's features",
        "ridge regression on NIQE's features",
        "BRISQUE's own score",
    ]
    assert all("SROCC 1.000 (0.000), PLCC 1.000 (0.000), 10 split(s)" in text for text in lines)


@pytest.mark.usefixtures("packages")
def test_niqe_leaves_out_a_block_that_has_no_features(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_bright_blocks(block: np.ndarray) -> list[float]:
        if block.mean() < 50:
            raise ValueError("math domain error")
        return [float(block.mean())] * 18

    monkeypatch.setattr(sys.modules["niqe.main"], "compute_features", of_bright_blocks)
    grey = np.zeros((96, 192))
    grey[:, 96:] = 0.4
    assert classical.niqe_features(grey) == pytest.approx(np.full(36, 0.4 * 255), rel=0.03)


@pytest.mark.usefixtures("packages")
def test_niqe_sees_whole_blocks_only() -> None:
    grey = np.zeros((100, 290))
    grey[:96, :96], grey[:96, 96:192], grey[:96, 192:288] = 0.1, 0.2, 0.6
    grey[96:], grey[:, 288:] = 1, 1  # the rest of the last blocks
    features = classical.niqe_features(grey)
    assert features[0] == pytest.approx(0.2 * 255) and features[2] == pytest.approx(0.2 * 255, rel=0.01)


def test_a_missing_package_is_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.setattr("sys.argv", ["classical", "--data_base_path", str(tmp_path), "--dataset", "shades"])
    with pytest.raises(classical.UserError, match=r"cv2.*pip install brisque niqe"):
        classical.main()


def test_features_are_brought_to_one_scale() -> None:
    features = np.array([[1.0, 5.0, np.nan], [2.0, 5.0, 0.0], [3.0, 5.0, 2.0]])
    third = np.sqrt(1.5)
    assert classical.standardised(features) == pytest.approx(np.array([[-third, 0, 0], [0, 0, -1], [third, 0, 1]]))
