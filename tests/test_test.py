"""test.py on a small dataset with the folder layout of KADID-10k, with an untrained encoder."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge

import test as script
from models.preprocess import center_corners_crop, normalize, to_pixels
from models.regressor import load_regressor
from models.simclr import SimCLR
from models.weights import load_encoder
from utils.config.keys import Config
from utils.evaluation.protocol import ALPHAS
from utils.regression import RidgePath

CPU = torch.device("cpu")
REFERENCES = 10


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small KADID10K: 10 references, two types, two levels, and splits."""
    folder = tmp_path_factory.mktemp("data") / "KADID10K"
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for reference in range(1, REFERENCES + 1):
        content = rng.uniform(60, 200, (4, 4, 3)).repeat(12, 0).repeat(12, 1)
        Image.fromarray(content.astype(np.uint8)).save(folder / "images" / f"I{reference:02}.png")
        for kind in (1, 2):
            for level in (1, 5):
                name = f"I{reference:02}_{kind:02}_{level:02}.png"
                image = content + rng.normal(0, 12 * level, content.shape) * (kind == 1) + 10 * level * (kind == 2)
                Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "images" / name)
                rows.append((name, f"I{reference:02}.png", 5 - 0.7 * level + rng.normal(0, 0.1), 0.5))
    pd.DataFrame(rows, columns=["dist_img", "ref_img", "dmos", "var"]).to_csv(folder / "dmos.csv", index=False)
    (folder / "splits").mkdir()
    splits = [np.random.default_rng(i).permutation(REFERENCES) for i in range(2)]
    for phase, part in (("train", slice(0, 6)), ("val", slice(6, 8)), ("test", slice(8, 10))):
        images = [np.flatnonzero(np.isin(np.arange(4 * REFERENCES) // 4, order[part])) for order in splits]
        np.save(folder / "splits" / f"{phase}.npy", np.array(images))
    return folder.parent


def configuration(base: Path, **test: object) -> Config:
    test = {"datasets": ["kadid10k"], "num_workers": 0, "crop_size": 32, "batch_size": 8, **test}
    values = {"experiment_name": "tried", "data_base_path": str(base), "device": "cpu", "test": test}
    return Config.from_dict({**values, "logging.use_wandb": False, "model.encoder.pretrained": False})


def results_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with an experiment and its best checkpoint."""
    folder = tmp_path_factory.mktemp("work")
    torch.manual_seed(0)
    model = SimCLR({"embedding_dim": 8, "pretrained": False, "use_norm": True}, 0.1)
    path = folder / "experiments" / "tried" / "pretrain" / "best_epoch_0_srocc_0.000_plcc_0.000.pth"
    path.parent.mkdir(parents=True)
    torch.save(model.state_dict(), path)
    return folder


def test_a_test_writes_results_and_a_regressor(
    base: Path, experiment: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(experiment)
    assert script.run_test(configuration(base, compare_untrained=True), "scratch", CPU) == 0
    assert "kadid10k" in capsys.readouterr().out
    folder = experiment / "experiments" / "tried"
    content = results_of(folder)
    (found,) = content["datasets"]
    assert [content["checkpoint"]] == [path.name for path in (folder / "pretrain").glob("best_*")]
    assert np.shape(found["validation_srocc"]) == (2, len(ALPHAS))
    assert found["splits_kind"] == "own" and len(found["splits_hash"]) == 16
    summary = pd.read_csv(folder / "results.csv")
    assert -1 <= summary["untrained_srocc"][0] <= 1 and summary["untrained_srocc"][0] != summary["srocc"][0]
    tested = pd.read_csv(folder / "predictions.csv")
    assert (tested["image"].str[:3] == tested["reference"].str[:3]).all()
    assert len(found["scores"]["global"]["srocc"]) == 2
    for split, expected in enumerate(found["scores"]["global"]["srocc"]):
        of = tested[tested["split"] == split]
        assert spearmanr(of["prediction"], of["score"]).statistic == pytest.approx(expected)
    regressor = load_regressor(folder / "regressors" / "regressor_kadid10k.pth")
    assert regressor.encoder_hash == content["encoder_hash"]
    assert (regressor.alpha, regressor.mos_range, regressor.score_kind) == (found["alpha"], (1.0, 5.0), "human")
    assert regressor.srocc == pytest.approx(np.median(found["scores"]["global"]["srocc"]))
    features = next((experiment / "experiments" / ".features").glob(f"*{content['encoder_hash']}*.float32"))
    crops = np.fromfile(features, "<f4").reshape(-1, 5, 4096)
    mos = pd.read_csv(base / "KADID10K" / "dmos.csv")["dmos"].to_numpy()
    np.testing.assert_allclose(regressor.score_quantiles, np.percentile((mos - 1) / 4, np.arange(101)))
    coef, intercept = RidgePath(crops, mos).fit(np.arange(len(mos)), found["alpha"])
    np.testing.assert_allclose(regressor.weights.numpy()[0], coef, rtol=1e-4, atol=1e-7)
    assert regressor.biases.item() == pytest.approx(intercept, rel=1e-5)


def test_truncated_images_are_counted_and_a_failing_dataset_does_not_affect_the_others(
    base: Path, experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(experiment)
    shutil.copytree(base, tmp_path / "data")
    for name in ("I03_01_05.png", "I07_01_01.png"):
        image = tmp_path / "data" / "KADID10K" / "images" / name
        image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    options = {"datasets": ["tid2013", "kadid10k"], "train_fraction": [0.5, 1.0], "grid_search": False}
    options["shorter_side"] = 40
    assert script.run_test(configuration(tmp_path / "data", **options), "scratch", CPU) == 1
    out, err = capsys.readouterr()
    assert "tid2013 failed: " in err
    note = "2 of 40 images are truncated; only the intact part was read: I03_01_05.png, I07_01_01.png"
    assert out.count(f"kadid10k: {note}") == 1
    folder = experiment / "experiments" / "tried"
    content = results_of(folder)
    found = [(d["dataset"], d["train_fraction"], d["alpha"], d["validation_srocc"]) for d in content["datasets"]]
    assert found == [("kadid10k", 0.5, 0.1, None), ("kadid10k", 1.0, 0.1, None)]
    assert all(note in result["notes"] for result in content["datasets"])
    assert note in (folder / "report.html").read_text(encoding="utf-8")
    assert list(content["failures"]) == ["tid2013"]
    assert load_regressor(folder / "regressors" / "regressor_kadid10k.pth").shorter_side == 40


def test_full_reference_regresses_from_the_distance_to_the_references_features(
    base: Path, experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(experiment / "experiments" / "tried" / "pretrain", tmp_path / "experiments/tried/pretrain")
    monkeypatch.chdir(tmp_path)
    assert script.run_test(configuration(base, grid_search=False), "scratch", CPU) == 0
    (usual,) = Path("experiments/.features").glob("*.npy")
    before = usual.read_bytes()
    assert script.run_test(configuration(base, full_reference=True, grid_search=False), "scratch", CPU) == 0
    assert usual.read_bytes() == before  # the images' features are those of the usual test
    (added,) = {*usual.parent.glob("*.npy")} - {usual}
    assert len(np.load(added)) == REFERENCES
    folder = Path("experiments/tried/full_reference")
    assert (folder / "results.csv").exists() and (folder / "report.html").exists()
    out = capsys.readouterr().out
    assert "CONTRIQUE_srocc" in out and "0.946" in out and "Re-IQA_srocc" in out and "0.901" in out
    # The encoder as it is, without folding and caching, on crops made here.
    encoder = load_encoder(next(Path("experiments/tried/pretrain").glob("best_*.pth")))

    def features(name: str) -> np.ndarray:
        image = Image.open(base / "KADID10K" / "images" / name)
        scales = (image, image.resize((24, 24), Image.Resampling.BICUBIC))
        crops = [torch.stack([normalize(to_pixels(c)) for c in center_corners_crop(s, 32)]) for s in scales]
        with torch.no_grad():
            return torch.cat([encoder.features(c) for c in crops], dim=1).numpy()

    table = pd.read_csv(base / "KADID10K" / "dmos.csv")
    clean = {name: features(name) for name in set(table["ref_img"])}
    rows = zip(table["dist_img"], table["ref_img"], strict=True)
    distances = np.stack([abs(clean[reference] - features(name)) for name, reference in rows])
    regressor = load_regressor(folder / "regressors" / "regressor_kadid10k.pth", kind="full_reference")
    coef, intercept = RidgePath(distances, table["dmos"].to_numpy()).fit(np.arange(len(table)), 0.1)
    np.testing.assert_allclose(regressor.weights.numpy()[0], coef, atol=1e-3 * abs(coef).max())
    assert regressor.biases.item() == pytest.approx(intercept, abs=1e-3)
    train, test = (np.load(base / "KADID10K" / "splits" / f"{phase}.npy")[0] for phase in ("train", "test"))
    ridge = Ridge(0.1).fit(distances[train].reshape(-1, 4096), table["dmos"][train].repeat(5))
    expected = ridge.predict(distances[test].reshape(-1, 4096)).reshape(-1, 5).mean(axis=1)
    found = [prediction["prediction"] for prediction in results_of(folder)["datasets"][0]["predictions"]]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_full_reference_without_fitting_references_is_one_line(
    base: Path, experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(experiment)
    shutil.copytree(base, tmp_path / "data")
    own = tmp_path / "data" / "own"
    own.mkdir()
    (own / "labels.csv").write_text("image,score,reference\na.png,1,x\nb.png,2,y\nc.png,3,z\n")
    config = configuration(tmp_path / "data", full_reference=True, grid_search=False, datasets=["own", "kadid10k"])
    Image.new("RGB", (48, 47)).save(tmp_path / "data" / "KADID10K" / "images" / "I03.png")
    assert script.run_test(config, "scratch", CPU) == 1
    err = capsys.readouterr().err
    assert "own failed: own: has no reference images" in err and "live, csiq, tid2013 and kadid10k have" in err
    assert "I03_01_01.png is 48 x 48 pixels, its reference" in err and "I03.png 48 x 47" in err


def test_cross_dataset_handles_mos_and_dmos() -> None:
    rng = np.random.default_rng(0)
    mos = rng.uniform(0, 1, 30)
    features = mos[:, None, None] * rng.standard_normal(4) + rng.standard_normal((30, 5, 4)) / 100
    scores = {"up": (mos, "mos"), "down": (100 - 90 * mos, "dmos")}
    datasets = {name: SimpleNamespace(mos=values, mos_type=kind) for name, (values, kind) in scores.items()}
    tested = {
        name: script.Tested(dataset, features, RidgePath(features, dataset.mos).fit(np.arange(30), 0.1)[0])
        for name, dataset in datasets.items()
    }
    results = script.cross_dataset(tested)
    assert {(r.fitted_on, r.tested_on) for r in results} == {("up", "down"), ("down", "up")}
    assert all(r.srocc > 0.9 and r.plcc > 0.99 for r in results)
    assert script.cross_dataset({}) == []
