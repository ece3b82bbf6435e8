import csv
import html
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torchvision.transforms import Normalize, Resize, ToTensor

import single_image_inference
from models.arniqa import ARNIQA, _positions
from models.errors import UserError, WeightsError
from models.regressor import RELEASED_SCORES
from models.resnet import ResNet
from tests.models.arniqa_files import random_regressor
from utils.evaluation.inference import find_files

CROP = 48
LOWEST, HIGHEST = -0.26, -0.24
CONFIG = Path(__file__).resolve().parents[1] / "config.yaml"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Images with different sizes and modes, one of them in a subfolder, one too small and one broken."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    generator = np.random.default_rng(0)
    noise = Image.fromarray(generator.integers(0, 256, (90, 130, 3), dtype=np.uint8))
    noise.save(folder / "b.png")
    noise.convert("L").resize((32, 400)).save(folder / "grey.png")
    noise.convert("RGBA").save(folder / "sub" / "alpha.png")
    noise.convert("CMYK").resize((60, 60)).save(folder / "cmyk.jpg")
    noise.resize((1, 1)).save(folder / "pixel.png")
    (folder / "broken.png").write_bytes((folder / "b.png").read_bytes()[:200])
    (folder / "notes.txt").write_text("no image", encoding="utf-8")
    return folder


@pytest.fixture
def quantiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The released kadid10k regressor was fitted on scores that are uniform about those of random weights."""
    table = tmp_path / "score_quantiles.json"
    table.write_text(json.dumps({"kadid10k": np.linspace(LOWEST, HIGHEST, 101).tolist()}))
    monkeypatch.setattr("models.regressor.SCORE_QUANTILES", table)


def percentile(score: float) -> float:
    return 100 * min(max((score - LOWEST) / (HIGHEST - LOWEST), 0), 1)


def run(*arguments: object) -> int:
    return single_image_inference.main(["--device", "cpu", "--crop_size", str(CROP), *map(str, arguments)])


def expected_score(
    encoder: ResNet, regressor: torch.nn.Linear, path: Path, size: tuple[int, int] | None = None
) -> float:
    """The score by its definition: the mean over the crops of the regressor on the features of both scales."""
    return regressor(crop_features(encoder, path, size)).mean().item()


def crop_features(encoder: ResNet, path: Path, size: tuple[int, int] | None = None) -> torch.Tensor:
    """5 x 4096: the features of both scales of each crop."""
    image = Image.open(path).convert("RGB")
    image = image.resize(size, Image.Resampling.BICUBIC) if size else image
    half = Resize((image.height // 2, image.width // 2))(image)
    prepare = Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    features = []
    for scale in (image, half):
        x, y = scale.width - CROP, scale.height - CROP
        starts = [(x // 2, y // 2), (0, 0), (0, y), (x, 0), (x, y)]
        crops = [scale.crop((a, b, a + CROP, b + CROP)) for a, b in starts]
        features.append(encoder(prepare(torch.stack([ToTensor()(crop) for crop in crops])))[0])
    return torch.cat(features, dim=1)


@torch.no_grad()
def test_prints_the_score_of_one_image(
    photos: Path, released: Path, encoder: ResNet, quantiles: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--img_path", photos / "b.png", "--weights_dir", released) == 0
    regressor = random_regressor(list(RELEASED_SCORES).index("kadid10k"))
    expected = (expected_score(encoder, regressor, photos / "b.png") - 1) / 4
    out = capsys.readouterr().out
    assert float(out.split()[0]) == pytest.approx(expected, abs=1e-5)
    assert 1 < percentile(expected) < 99
    assert out.endswith(
        f"  better than {percentile(expected):.0f} % of kadid10k's images, according to its human ratings\n"
    )


@torch.no_grad()
def test_the_score_of_a_panorama_is_the_mean_over_its_crops(
    tmp_path: Path, released: Path, encoder: ResNet, capsys: pytest.CaptureFixture[str]
) -> None:
    small = np.random.default_rng(1).integers(0, 256, (5, 200, 3), dtype=np.uint8)
    path = tmp_path / "panorama.png"
    Image.fromarray(small).resize((20_000, 500), Image.Resampling.NEAREST).save(path)
    assert run("--img_path", path, "--weights_dir", released) == 0
    regressor = random_regressor(list(RELEASED_SCORES).index("kadid10k"))
    expected = (expected_score(encoder, regressor, path) - 1) / 4
    assert float(capsys.readouterr().out.split()[0]) == pytest.approx(expected, abs=1e-5)


def test_16_bit_and_8_bit_images_have_the_same_score(
    tmp_path: Path, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = np.random.default_rng(2).integers(0, 256, (90, 130), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    for name in ("8.png", "16.png"):
        assert run("--img_path", tmp_path / name, "--weights_dir", released) == 0
    of_8, of_16 = capsys.readouterr().out.splitlines()
    assert of_8 == of_16


@torch.no_grad()
def test_an_experiment_is_scored_with_the_size_and_the_crops_that_its_regressor_was_fitted_on(
    photos: Path,
    experiment: Path,
    encoder: ResNet,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(experiment.parents[1])
    arguments = ["--img_path", photos / "b.png", "--regressor_dataset", "mine", "--device", "cpu"]
    arguments += ["--eval_type", "scratch", "--experiment_name", "tried"]
    assert single_image_inference.main([str(argument) for argument in arguments]) == 0
    expected = expected_score(encoder, random_regressor(101), photos / "b.png", (86, 60)) / 10
    assert float(capsys.readouterr().out) == pytest.approx(expected, abs=1e-5)
    output = photos / "scores.csv"
    assert single_image_inference.main([*map(str, arguments), "--output", str(output)]) == 0
    assert "crops of 48, shorter side of 60" in output.read_text(encoding="utf-8")
    quality_map = photos / "map.png"
    assert single_image_inference.main([*map(str, arguments), "--quality_map", str(quality_map)]) == 0
    assert quality_map.exists()


@torch.no_grad()
def test_resize_is_followed_and_part_of_what_the_file_of_scores_says(
    photos: Path,
    experiment: Path,
    released: Path,
    encoder: ResNet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["--img_path", photos / "b.png", "--weights_dir", released]
    assert run(*command, "--resize", 70) == 0
    regressor = random_regressor(list(RELEASED_SCORES).index("kadid10k"))
    expected = (expected_score(encoder, regressor, photos / "b.png", (101, 70)) - 1) / 4
    assert float(capsys.readouterr().out.split()[0]) == pytest.approx(expected, abs=1e-5)
    output = tmp_path / "scores.csv"
    assert run(*command, "--resize", 70, "--output", output) == 0
    assert "crops of 48, shorter side of 70" in output.read_text(encoding="utf-8")
    with pytest.raises(UserError, match=r"has scores of .* shorter side of 70, not of"):
        run(*command, "--output", output)
    with pytest.raises(UserError, match=r"--resize: found '31'; allowed: integer in \[32, 8192\]"):
        run(*command, "--resize", 31)
    capsys.readouterr()
    monkeypatch.chdir(experiment.parents[1])  # a regressor whose file says 60
    own = ["--regressor_dataset", "mine", "--eval_type", "scratch", "--experiment_name", "tried"]
    assert run("--img_path", photos / "b.png", "--resize", 70, *own) == 0
    expected = expected_score(encoder, random_regressor(101), photos / "b.png", (101, 70)) / 10
    assert float(capsys.readouterr().out) == pytest.approx(expected, abs=1e-5)


def test_the_released_regressor_of_spaq_names_the_size_that_it_was_fitted_on(
    photos: Path, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = {}
    for dataset, size in (("spaq", []), ("spaq", ["--resize", 512]), ("kadid10k", [])):
        command = ["--img_path", photos / "b.png", "--weights_dir", released, "--regressor_dataset", dataset]
        assert run(*command, *size) == 0
        out, err = capsys.readouterr()
        scores[dataset, len(size)] = float(out.split()[0])
        assert err.count("\n") == (1 if dataset == "spaq" and not size else 0)
        assert ("--resize 512" in err) is (dataset == "spaq" and not size)
    assert scores["spaq", 0] != scores["spaq", 2]  # not resized silently


def full_reference_experiment(folder: Path, experiment: Path) -> None:
    """In `folder`: the experiment `tried` with a full-reference regressor too, of seed 7 and the range 0..10."""
    shutil.copytree(experiment, folder / "experiments" / "tried")
    usual = torch.load(experiment / "regressors" / "regressor_mine.pth")
    linear = random_regressor(7)
    path = folder / "experiments" / "tried" / "full_reference" / "regressors" / "regressor_mine.pth"
    path.parent.mkdir(parents=True)
    content = {"weights": linear.weight.detach(), "biases": linear.bias.detach(), "kind": "full_reference"}
    torch.save({**usual, **content}, path)


@torch.no_grad()
def test_images_are_scored_beside_their_reference(
    photos: Path,
    experiment: Path,
    encoder: ResNet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    full_reference_experiment(tmp_path, experiment)
    monkeypatch.chdir(tmp_path)
    reference = tmp_path / "reference.png"
    Image.open(photos / "b.png").filter(ImageFilter.GaussianBlur(3)).save(reference)
    options = ["--regressor_dataset", "mine", "--eval_type", "scratch", "--experiment_name", "tried"]
    assert run("--img_path", photos / "b.png", "--reference", reference, *options) == 0
    image, clean = (crop_features(encoder, path, (86, 60)) for path in (photos / "b.png", reference))
    distance = (image - clean).abs()
    expected = random_regressor(7)(distance).mean().item() / 10
    assert float(capsys.readouterr().out) == pytest.approx(expected, abs=1e-5)

    # Of a folder, the images of another size get a line each, also in a file of scores.
    assert run("--img_path", photos, "--reference", reference, *options, "--batch_size", 3) == 1
    out, err = capsys.readouterr()
    scores = dict(line.rsplit(": ", 1) for line in out.splitlines())
    assert scores.keys() == {str(photos / "b.png"), str(photos / "sub" / "alpha.png")}
    assert float(scores[str(photos / "b.png")]) == pytest.approx(expected, abs=1e-5)
    assert f"{photos / 'grey.png'}: 32 x 400 pixels; the reference {reference} has 130 x 90" in err
    assert run("--img_path", photos, "--reference", reference, *options, "--output", tmp_path / "s.csv") == 1
    with (tmp_path / "s.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 and all(f"reference {reference}" in row["model"] for row in rows)


def test_a_regressor_of_the_wrong_kind_is_one_line(
    photos: Path, experiment: Path, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_reference_experiment(tmp_path, experiment)
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "experiments" / "tried"
    options = ["--img_path", photos / "b.png", "--eval_type", "scratch", "--experiment_name", "tried"]
    reference = ["--reference", photos / "b.png"]
    for arguments, message in (
        ([*options, *reference], "regressor_kadid10k.pth: no such file"),  # it has one of the usual kind only
        ([*options, *reference, "--quality_map", "map.png"], "--quality_map, --reference"),
        ([*options, *reference, "--explain"], "--explain, --reference: found both"),
        ([*options, "--reference", "none.png", "--regressor_dataset", "mine"], "none.png"),
        (["--img_path", photos / "b.png", "--weights_dir", released, *reference], "--reference: .*--experiment_name"),
    ):
        with pytest.raises((UserError, WeightsError), match=message) as error:
            run(*arguments)
        assert "\n" not in str(error.value)
    shutil.copyfile(
        own / "regressors" / "regressor_mine.pth", own / "full_reference" / "regressors" / "regressor_b.pth"
    )
    with pytest.raises(WeightsError, match=r"regressor_b\.pth: its kind is no_reference.*without a reference"):
        run(*options, *reference, "--regressor_dataset", "b")
    shutil.copyfile(
        own / "full_reference" / "regressors" / "regressor_mine.pth", own / "regressors" / "regressor_c.pth"
    )
    with pytest.raises(WeightsError, match=r"regressor_c\.pth: its kind is full_reference.*with a reference"):
        run(*options, "--regressor_dataset", "c")


def test_every_score_of_a_folder_has_its_percentile(
    photos: Path, released: Path, quantiles: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The score is the first word after the path; KonIQ-10k's regressor has no percentiles."""
    of_dataset = {name: ["--weights_dir", released, "--regressor_dataset", name] for name in ("kadid10k", "koniq10k")}
    assert run("--img_path", photos, *of_dataset["kadid10k"]) == 1
    lines = [line.rsplit(": ", 1) for line in capsys.readouterr().out.splitlines()]
    printed = {path: float(text.split()[0]) for path, text in lines}
    assert len(printed) == 4
    for path, text in lines:
        percent = f"{percentile(printed[path]):.0f} %"
        assert text.split("  ")[1] == f"better than {percent} of kadid10k's images, according to its human ratings"
    assert run("--img_path", photos, *of_dataset["koniq10k"]) == 1
    assert all(float(line.rsplit(": ", 1)[1]) for line in capsys.readouterr().out.splitlines())
    for name, options in of_dataset.items():
        output = tmp_path / f"{name}.csv"
        assert run("--img_path", photos, *options, "--output", output) == 1
        with output.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                known = name == "kadid10k" and not row["error"]
                if known:
                    assert float(row["percentile"]) == pytest.approx(percentile(printed[row["image"]]), abs=2e-2)
                else:
                    assert row["percentile"] == ""


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("human", "according to its human ratings"),
        ("pseudo", "by their pseudo-scores, not human ones"),
        ("unstated", "by their scores"),
        (None, "by their scores"),
    ],
)
def test_a_percentile_says_whose_scores_it_is_among(
    kind: str | None,
    words: str,
    photos: Path,
    experiment: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Only a dataset of human scores has raters; the file of a regressor may not say."""
    shutil.copytree(experiment, tmp_path / "experiments" / "tried")
    path = tmp_path / "experiments" / "tried" / "regressors" / "regressor_mine.pth"
    content = {**torch.load(path), "score_quantiles": [-10.0, 0.0, 10.0], "score_kind": kind}
    torch.save({name: value for name, value in content.items() if value is not None}, path)
    monkeypatch.chdir(tmp_path)
    own = ["--regressor_dataset", "mine", "--eval_type", "scratch", "--experiment_name", "tried"]
    assert run("--img_path", photos / "b.png", *own, "--report", tmp_path / "scores.html") == 0
    assert re.search(rf"  better than \d+ % of mine's images, {words}\n", capsys.readouterr().out)
    page = html.unescape((tmp_path / "scores.html").read_text(encoding="utf-8"))
    assert f"“Better than” is the percentile among mine's images, {words}." in page
    assert ("human ratings" in page) is (kind == "human")


def test_scores_of_a_regressor_that_was_fitted_again_are_not_mixed_with_earlier_ones(
    photos: Path, experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An experiment that is trained further or tested with other settings keeps its name."""
    shutil.copytree(experiment, tmp_path / "experiments" / "tried")
    monkeypatch.chdir(tmp_path)
    own = ["--regressor_dataset", "mine", "--eval_type", "scratch", "--experiment_name", "tried"]
    command = ["--img_path", photos / "b.png", *own, "--output", "scores.csv"]
    assert run(*command) == run(*command) == 0
    path = Path("experiments/tried/regressors/regressor_mine.pth")
    content = torch.load(path)
    for change in ({"biases": content["biases"] + 1}, {"mos_range": [0.0, 20.0]}, {"mos_type": "dmos"}):
        torch.save({**content, **change}, path)
        with pytest.raises(UserError, match=r"scores\.csv: has scores of .*tried, mine .*give another --output"):
            run(*command)
    torch.save({**content, "srocc": 0.9}, path)
    assert run(*command) == 0


@torch.no_grad()
def test_a_score_is_explained_by_its_crops_and_a_map(
    photos: Path,
    released: Path,
    encoder: ResNet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["--img_path", photos / "b.png", "--weights_dir", released, "--explain"]
    before = (photos / "b.png").read_bytes()
    assert run(*command) == 0
    first, *crops, written = capsys.readouterr().out.splitlines()
    regressor = random_regressor(list(RELEASED_SCORES).index("kadid10k"))
    expected = ((regressor(crop_features(encoder, photos / "b.png")) - 1) / 4).flatten().tolist()
    names, scores = zip(*(line.split(": ") for line in crops), strict=True)
    assert names == ("centre", "top left", "bottom left", "top right", "bottom right")
    assert [float(score) for score in scores] == pytest.approx(expected, abs=1e-5)
    assert float(first.split()[0]) == pytest.approx(np.mean(expected), abs=1e-5)
    assert written == "quality map: b_quality.png"
    with Image.open(tmp_path / "b_quality.png") as painted:
        assert (np.ptp(np.asarray(painted.convert("RGB"), dtype=int), axis=2) > 20).mean() > 0.2

    assert run(*command) == 0  # its own output is replaced
    assert run(*command, "--quality_map", "other.svg") == 0
    assert capsys.readouterr().out.endswith("quality map: other.svg\n") and Path("other.svg").exists()
    with pytest.raises(UserError, match="does not look like an output"):
        run("--img_path", photos / "b.pn[g]", *command[2:], "--quality_map", photos / "b.png")
    assert (photos / "b.png").read_bytes() == before


def test_scores_of_a_folder_are_written_to_a_file_and_resumed(
    photos: Path, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out" / "scores.csv"
    command = ["--img_path", photos, "--weights_dir", released, "--output", output, "--batch_size", "2"]
    assert run(*command) == 1  # two images have no score
    whole = output.read_bytes()
    with output.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [str(path) for path in find_files(str(photos))]
    assert len(rows) == 6
    for row in rows:
        bad = row["image"].endswith(("broken.png", "pixel.png"))
        assert bool(row["error"]) is bad and bool(row["score"]) is not bad

    lines = whole.splitlines(keepends=True)
    output.write_bytes(b"".join(lines[:4]) + lines[4][:10])  # the file after a kill
    scored: list[Path] = []
    score_images = single_image_inference.score_images

    def watched(model: torch.nn.Module, paths: list[Path], *options: Any):  # type: ignore[no-untyped-def]
        scored.extend(paths)
        return score_images(model, paths, *options)

    monkeypatch.setattr(single_image_inference, "score_images", watched)
    assert run(*command) == 1
    assert rows[1]["error"] and [str(path) for path in scored] == [row["image"] for row in [rows[1], *rows[3:]]]
    with output.open(newline="", encoding="utf-8") as file:
        again = list(csv.DictReader(file))
    assert len(again) == len(rows)
    for old, new in zip(
        rows, sorted(again, key=lambda row: [r["image"] for r in rows].index(row["image"])), strict=True
    ):
        assert old["image"] == new["image"]
        assert old["error"] == new["error"]
        assert not old["score"] or float(new["score"]) == pytest.approx(float(old["score"]), abs=1e-5)

    assert run("--img_path", photos / "b.png", *command[2:]) == 0
    with output.open(newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == again  # the error of an image that is not in --img_path stays

    with pytest.raises(UserError, match="has scores of released weights, kadid10k"):
        run(*command, "--regressor_dataset", "live")
    (photos / "notes.csv").write_text("my,notes\n", encoding="utf-8")
    with pytest.raises(UserError, match="not a file of scores"):
        run(*command[:-4], "--output", photos / "notes.csv")


def page_data(text: str) -> list[list[str]]:
    """Name, link, score, percentile and thumbnail of each scored image of a page."""
    return json.loads(text.partition('<script type="application/json" id="data">')[2].partition("</script>")[0])


def rows_and_page(output: Path, report: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The score of each image in the file of scores, "" for an error, and the same as the page shows it."""
    with output.open(newline="", encoding="utf-8") as file:
        rows = {Path(row["image"]).name: row["score"] for row in csv.DictReader(file)}
    text = report.read_text(encoding="utf-8")
    shown = [(Path(name).name, score) for name, _, score, *_ in page_data(text)]
    failed = re.findall(r'<a class="name" href=".*?">(?:.*/)?(.*?)</a>', text)
    return rows, dict(shown) | dict.fromkeys(failed, "")


def test_the_page_has_all_images_of_the_file_of_scores(
    photos: Path, released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, report = tmp_path / "scores.csv", tmp_path / "out" / "scores.html"
    command = ["--weights_dir", released, "--output", output]
    (photos / "early.png").write_bytes((photos / "b.png").read_bytes())
    assert run("--img_path", photos / "early.png", *command) == 0
    (photos / "early.png").unlink()
    assert run("--img_path", photos, *command, "--report", report) == 1
    rows, shown = rows_and_page(output, report)
    assert len(rows) == 7 and shown == {name: f"{float(s):.3f}" if s else "" for name, s in rows.items()}
    assert f"released weights, kadid10k, crops of {CROP}" in report.read_text(encoding="utf-8")
    with output.open(newline="", encoding="utf-8") as file:
        percentiles = {Path(row["image"]).name: row["percentile"] for row in csv.DictReader(file) if row["score"]}
    found = {Path(name).name: text for name, *_, text, _ in page_data(report.read_text(encoding="utf-8"))}
    assert found == {name: f"better than {float(value):.0f} %" for name, value in percentiles.items()}
    assert f"{report}: 7 images, 1 without a picture" in capsys.readouterr().err


def test_the_page_needs_no_file_of_scores(
    photos: Path, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "scores.html"
    assert run("--img_path", photos, "--weights_dir", released, "--report", report) == 1
    printed = capsys.readouterr().out.splitlines()
    text = report.read_text(encoding="utf-8")
    assert "Scores of 6 images" in text and len(printed) == 4
    scores = [float(line.rpartition(": ")[2].split()[0]) for line in printed]
    assert [score for _, _, score, *_ in page_data(text)] == [f"{score:.3f}" for score in sorted(scores)]
    assert run("--img_path", photos / "b.png", "--weights_dir", released, "--report", report) == 0
    assert "Scores of 1 image<" in report.read_text(encoding="utf-8")
    float(capsys.readouterr().out.split()[0])  # a script that reads the score of one image still can
    report.unlink()
    monkeypatch.setattr(single_image_inference, "output_dropped", lambda: True)  # as with | head -1
    assert run("--img_path", photos / "b.png", "--weights_dir", released, "--report", report) == 0
    assert "Scores of 1 image<" in report.read_text(encoding="utf-8")


def test_a_stop_while_the_page_is_written_leaves_the_scores_and_no_page(
    photos: Path, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(path: Path, longest: int) -> Image.Image:
        raise KeyboardInterrupt

    monkeypatch.setattr("utils.report.page_parts.open_thumbnail", stopped)
    output, report = tmp_path / "scores.csv", tmp_path / "out" / "scores.html"
    with pytest.raises(KeyboardInterrupt):
        run("--img_path", photos, "--weights_dir", released, "--output", output, "--report", report)
    assert output.read_text(encoding="utf-8").count("\n") == 7 and list(report.parent.iterdir()) == []


def test_a_page_that_cannot_be_written_is_refused_before_anything_is_scored(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.csv"
    for report, message in ((photos, "ends in .html"), (photos / "b.png", "ends in .html"), (output, "ends in .html")):
        with pytest.raises(UserError, match=f"--report: .*{message}"):
            run("--img_path", photos, "--weights_dir", tmp_path, "--output", output, "--report", report)
    assert not output.exists()


def test_a_broken_image_gives_an_error_message_and_exit_code_1(
    photos: Path, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--img_path", photos / "*.png", "--weights_dir", released) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 2 and "broken.png" in captured.err
    assert "pixel.png: 1 x 1 pixels; expected at least 32" in captured.err
    assert [line.partition(": ")[0] for line in captured.out.splitlines()] == [
        str(photos / name) for name in ("b.png", "grey.png")
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--img_path", "nowhere"], "nowhere: no image found"),
        (["--img_path", "x", "--eval_type", "scratch"], "--experiment_name"),
        (["--img_path", CONFIG, "--eval_type", "scratch", "--experiment_name", "none"], "none"),
        (["--img_path", ""], "--img_path: is empty"),
        (["--img_path", CONFIG, "--device", "gpu"], "--device: found 'gpu', allowed: auto, cpu"),
        (["--img_path", CONFIG, "--num_workers", "-1"], "found '-1'; allowed: integer in [0, 1000]"),
        (["--img_path", CONFIG, "--crop_size", "1000000"], "allowed: integer in [1, 8192]"),
        (["--img_path", CONFIG, "--quality_map", CONFIG], "ends in .png"),
        (["--img_path", CONFIG, "--quality_map", CONFIG.parent], "ends in .png"),
        (["--img_path", CONFIG, "--quality_map", "map.xyz"], "ends in .png"),
        (["--img_path", CONFIG.parent / "assets", "--explain"], "--explain: found 7 images"),
        (["--img_path", CONFIG, "--explain", "--output", "scores.csv"], "--explain, --output: found both"),
        (
            ["--img_path", CONFIG, "--eval_type", "scratch", "--experiment_name", "../x"],
            "experiment_name: found '../x'",
        ),
        (["--img_path", CONFIG, "--no_such", "1"], "unrecognized arguments: --no_such"),
        (["--img_path", CONFIG, "--regressor_dataset", "kadid"], "koniq10k"),
    ],
)
def test_mistakes_give_a_one_line_message(arguments: list[object], message: str) -> None:
    with pytest.raises((UserError, WeightsError)) as error:
        run(*arguments)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("side", [1, 10, 11, 25, 40])
def test_sliding_crops_cover_the_image_and_stay_inside(side: int) -> None:
    starts = _positions(side, 10)
    assert set(range(side)) <= {pixel for start in starts for pixel in range(start, start + 10)}
    assert starts == sorted(set(starts)) and starts[0] == 0
    assert starts[-1] + 10 == max(side, 10)


def test_the_quality_map_follows_the_local_quality(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the mean red value of the full-scale crop in the place of its score."""
    model = ARNIQA("kadid10k", released)
    model.crop_size = 10
    monkeypatch.setattr(model, "score_crops", lambda full, half: full[:, 0, 0].float().mean(dim=(1, 2)) / 255)
    pixels = np.zeros((40, 60, 3), dtype=np.uint8)
    pixels[:, 30:] = 255
    quality = model.quality_map(Image.fromarray(pixels))
    assert quality.shape == (40, 60)
    assert np.allclose(quality[:, :20], 0, atol=1e-6) and np.allclose(quality[:, 40:], 1, atol=1e-6)


def test_quality_map_is_drawn(photos: Path, released: Path, tmp_path: Path) -> None:
    path = tmp_path / "map.png"
    assert run("--img_path", photos / "b.png", "--weights_dir", released, "--quality_map", path) == 0
    with Image.open(path) as painted:
        pixels = np.asarray(painted.convert("RGB"), dtype=int)
    colourful = np.ptp(pixels, axis=2) > 20
    assert colourful.mean() > 0.2  # the map and the colour bar; text and margins are black and white
    with pytest.raises(UserError, match="6 images"):
        run("--img_path", photos, "--weights_dir", released, "--quality_map", path)
