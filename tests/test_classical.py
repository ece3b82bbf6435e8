import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks import classical
from models.errors import UserError

SHADES = tuple(range(40, 220, 6))


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for brisque, niqe and OpenCV. The features say how bright an image is, and the score falls with it."""
    brisque, niqe, main, cv2 = (ModuleType(name) for name in ("brisque", "niqe", "niqe.main", "cv2"))
    measure = SimpleNamespace(
        calculate_brisque_features=lambda image: np.array([image.mean(), 7.0], dtype=object),
        calculate_image_quality_score=lambda features: float(-features[0]),
    )
    vars(brisque)["BRISQUE"] = lambda: measure
    vars(main).update(compute_features=lambda block: [block.mean()] * 18, normalize_image=lambda image: image)
    vars(niqe)["main"] = main
    vars(cv2).update(resize=lambda image, *_, **__: image[::2, ::2], INTER_CUBIC=2)
    for module in (brisque, niqe, main, cv2):
        monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty grey images, a little lighter below, whose score is their brightness; and the command's arguments."""
    folder = tmp_path / "shades"
    folder.mkdir()
    for shade in SHADES:
        picture = np.full((100, 200, 3), shade, np.uint8)
        picture[50:] += 5
        Image.fromarray(picture).save(folder / f"{shade}.png")
    table = pd.DataFrame({"image": [f"{shade}.png" for shade in SHADES], "score": SHADES})
    table.to_csv(folder / "labels.csv", index=False)
    monkeypatch.setattr("sys.argv", ["classical", "--data_base_path", str(tmp_path), "--dataset", "shades"])
    return folder


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(("direction", "own"), [("higher", 1), ("lower", -1)])
def test_metrics_that_know_the_score_rank_every_test_image(
    dataset: Path, direction: str, own: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset / "dataset.yaml").write_text(f"direction: {direction}\n", encoding="utf-8")
    classical.main()
    assert capsys.readouterr().out.splitlines()[-4:] == [
        "shades, own splits:",
        "ridge regression on BRISQUE's features: SROCC 1.000 (0.000), PLCC 1.000 (0.000), 10 split(s)",
        "ridge regression on NIQE's features: SROCC 1.000 (0.000), PLCC 1.000 (0.000), 10 split(s)",
        f"BRISQUE's own score: SROCC {own}.000 (0.000), PLCC {own}.000 (0.000), 10 split(s)",
    ]


@pytest.mark.usefixtures("packages")
def test_images_without_features_or_a_score_are_counted(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flat = np.full((100, 200, 3), 0, np.uint8)
    Image.fromarray(flat).save(dataset / "40.png")
    measure = sys.modules["brisque"].BRISQUE()
    measure.calculate_image_quality_score = lambda features: float(-features[0]) if features[0] else float("nan")
    classical.main()
    _, of_niqe, own = capsys.readouterr().out.splitlines()[-3:]
    assert of_niqe.endswith("; 1 of 30 images lack features and get average ones")
    assert own.endswith("; 1 of 30 images have none and are left out") and "SROCC 1.000 (0.000)" in own


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(("scored", "said"), [(0, "no split has 3 test images with a score"), (12, ", 1 split(s)")])
def test_a_split_without_scores_is_left_out(
    dataset: Path, scored: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two splits; the darkest `scored` images, among them the test images of the first split, have a score."""
    (dataset / "splits").mkdir()
    train, dark, bright = range(12, 24), range(6), range(24, 30)
    for phase, of in {"train": (train, train), "val": (bright, dark), "test": (dark, bright)}.items():
        np.save(dataset / "splits" / f"{phase}.npy", np.array(of))
    limit = SHADES[scored] / 255 if scored else 0
    measure = sys.modules["brisque"].BRISQUE()
    measure.calculate_image_quality_score = lambda found: float(-found[0]) if found[0] < limit else float("nan")
    classical.main()
    own = capsys.readouterr().out.splitlines()[-1]
    assert said in own and own.endswith(f"; {30 - scored} of 30 images have none and are left out")


@pytest.mark.usefixtures("packages")
def test_a_truncated_image_is_named(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(dataset / "40.png")
    content = (dataset / "40.png").read_bytes()
    (dataset / "40.png").write_bytes(content[: len(content) // 2])
    classical.main()
    assert "1 of 30 images are truncated and were read as far as they go: 40.png" in capsys.readouterr().out


@pytest.mark.usefixtures("packages")
def test_a_small_image_is_named_before_anything_is_computed(dataset: Path) -> None:
    Image.new("RGB", (200, 95)).save(dataset / "214.png")
    with pytest.raises(UserError, match=r"214.png: has 200 x 95 pixels; NIQE needs at least 96 x 96"):
        classical.main()


@pytest.mark.usefixtures("packages")
def test_niqe_leaves_out_flat_blocks_and_those_that_it_cannot_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(block: np.ndarray) -> list[float]:
        if block.mean() < 50:
            raise ValueError("math domain error")
        return [float(block.mean())] * 18

    monkeypatch.setattr(sys.modules["niqe.main"], "compute_features", fit)
    grey = np.zeros((96, 384))  # the first block stays black
    grey[:48, 96:192] = 0.1
    grey[:, 192:288] = np.linspace(0.3, 0.5, 96)
    grey[:, 288:] = 1
    grey[10, 300] = 0.9  # not quite flat
    assert classical.niqe_features(grey)[:18] == pytest.approx(np.full(18, 0.7 * 255), rel=0.01)
    assert np.isnan(classical.niqe_features(np.full((96, 192), 0.5))).all()


@pytest.mark.usefixtures("packages")
def test_niqe_sees_whole_blocks_only() -> None:
    grey = np.tile(np.linspace(0, 0.1, 96), (100, 4))[:, :290]
    grey[:, 96:192] += 0.1
    grey[:, 192:288] += 0.5
    grey[96:], grey[:, 288:] = 1, 1  # the rest of the last blocks
    features = classical.niqe_features(grey)
    assert features[[0, 35]] == pytest.approx(0.15 * 255, rel=0.01)


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("name", ["cv2", "brisque", "niqe", "niqe.main"])
def test_a_missing_package_is_named_with_the_command(dataset: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"{name}.*pip install brisque niqe"):
        classical.main()


def test_features_are_brought_to_one_scale() -> None:
    features = np.array([[1.0, 5.0, np.inf], [2.0, 5.0, 0.0], [3.0, 5.0, 2.0]])
    third = np.sqrt(1.5)
    assert classical.standardised(features) == pytest.approx(np.array([[-third, 0, 0], [0, 0, -1], [third, 0, 1]]))
