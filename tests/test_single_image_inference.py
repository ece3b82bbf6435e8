import csv
import html
import json
import re
import shutil
from pathlib import Path

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
from tests.processes import standard_input
from utils.evaluation.inference import find_files

CROP = 48
LOWEST, HIGHEST = -0.26, -0.24
CONFIG = Path(__file__).resolve().parents[1] / "config.yaml"
OWN = ("--regressor_dataset", "mine", "--eval_type", "scratch", "--experiment_name", "tried")


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
def tried(experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the experiment in the current folder, which a test may change."""
    shutil.copytree(experiment, tmp_path / "experiments" / "tried")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "experiments" / "tried"


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


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


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
@pytest.mark.parametrize(
    ("side", "options", "size"),
    [
        ((130, 90), (), None),
        ((20_000, 500), (), None),  # a panorama
        ((130, 90), ("--resize", 70), (101, 70)),
        ((130, 90), OWN, (86, 60)),  # what the regressor was fitted on
        ((130, 90), (*OWN, "--resize", 70), (101, 70)),
    ],
)
def test_the_score_is_the_mean_over_the_crops_of_both_scales(
    side: tuple[int, int],
    options: tuple[object, ...],
    size: tuple[int, int] | None,
    released: Path,
    tried: Path,
    encoder: ResNet,
) -> None:
    small = np.random.default_rng(1).integers(0, 256, (5, 13, 3), dtype=np.uint8)
    Image.fromarray(small).resize(side, Image.Resampling.NEAREST).save("image.png")
    own = options[: len(OWN)] == OWN
    regressor = random_regressor(101 if own else list(RELEASED_SCORES).index("kadid10k"))
    raw = regressor(crop_features(encoder, Path("image.png"), size)).mean().item()
    expected = raw / 10 if own else (raw - 1) / 4
    command = ["--device", "cpu", "--img_path", "image.png", *map(str, options)]  # the regressor's own crop size
    command += [] if own else ["--crop_size", str(CROP), "--weights_dir", str(released)]
    assert single_image_inference.main([*command, "--output", "scores.csv"]) == 0
    (row,) = rows_of(Path("scores.csv"))
    assert float(row["score"]) == pytest.approx(expected, abs=1e-5)
    assert row["model"].endswith("crops of 48" + (f", shorter side of {size[1]}" if size else ""))


def test_the_released_regressor_of_spaq_names_the_size_that_it_was_fitted_on(
    photos: Path, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--img_path", photos / "b.png", "--weights_dir", released, "--regressor_dataset", "spaq"]
    assert run(*command) == 0
    as_it_is = capsys.readouterr()
    assert run(*command, "--resize", 512) == 0
    resized = capsys.readouterr()
    assert "--resize 512" in as_it_is.err and resized.err == ""
    assert as_it_is.out != resized.out  # not resized silently


def full_reference_experiment(folder: Path, experiment: Path) -> None:
    """In `folder`: the experiment `tried` with a full-reference regressor too, of seed 7 and the range 0..10."""
    if not (folder / "experiments").exists():
        shutil.copytree(experiment, folder / "experiments" / "tried")
    usual = torch.load(experiment / "regressors" / "regressor_mine.pth")
    linear = random_regressor(7)
    path = folder / "experiments" / "tried" / "full_reference" / "regressors" / "regressor_mine.pth"
    path.parent.mkdir(parents=True)
    content = {"weights": linear.weight.detach(), "biases": linear.bias.detach(), "kind": "full_reference"}
    torch.save({**usual, **content}, path)


@torch.no_grad()
def test_images_are_scored_beside_their_reference(
    photos: Path, experiment: Path, tried: Path, encoder: ResNet, capsys: pytest.CaptureFixture[str]
) -> None:
    full_reference_experiment(tried.parents[1], experiment)
    reference = photos.parent / "reference.png"
    Image.open(photos / "b.png").filter(ImageFilter.GaussianBlur(3)).save(reference)
    image, clean = (crop_features(encoder, path, (86, 60)) for path in (photos / "b.png", reference))
    expected = random_regressor(7)((image - clean).abs()).mean().item() / 10

    # Images of another size than the reference get a line each.
    assert run("--img_path", photos, "--reference", reference, *OWN, "--batch_size", 3) == 1
    out, err = capsys.readouterr()
    scores = dict(line.rsplit(": ", 1) for line in out.splitlines())
    assert scores.keys() == {str(photos / "b.png"), str(photos / "sub" / "alpha.png")}
    assert float(scores[str(photos / "b.png")]) == pytest.approx(expected, abs=1e-5)
    assert f"{photos / 'grey.png'}: 32 x 400 pixels; the reference has 130 x 90" in err


def test_a_regressor_of_the_wrong_kind_is_one_line(photos: Path, experiment: Path, tried: Path) -> None:
    full_reference_experiment(tried.parents[1], experiment)
    usual, other = tried / "regressors", tried / "full_reference" / "regressors"
    shutil.copyfile(usual / "regressor_mine.pth", other / "regressor_b.pth")
    shutil.copyfile(other / "regressor_mine.pth", usual / "regressor_c.pth")
    reference = ("--reference", photos / "b.png")
    for dataset, options, message in (
        ("kadid10k", reference, r"regressor_kadid10k\.pth: no such file"),  # it has one of the usual kind only
        ("b", reference, r"regressor_b\.pth: its kind is no_reference.*without a reference"),
        ("c", (), r"regressor_c\.pth: its kind is full_reference.*with a reference"),
    ):
        with pytest.raises(WeightsError, match=message):
            run("--img_path", photos / "b.png", *OWN, *options, "--regressor_dataset", dataset)


@pytest.mark.parametrize(
    ("kind", "words"), [("pseudo", "by their pseudo-scores, not human ones"), (None, "by their scores")]
)
def test_a_percentile_says_whose_scores_it_is_among(
    kind: str | None, words: str, photos: Path, tried: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a dataset of human scores has raters; the file of a regressor may not say."""
    path = tried / "regressors" / "regressor_mine.pth"
    content = {**torch.load(path), "score_quantiles": [-10.0, 0.0, 10.0], "score_kind": kind}
    torch.save({name: value for name, value in content.items() if value is not None}, path)
    assert run("--img_path", photos / "b.png", *OWN, "--report", "scores.html") == 0
    assert re.search(rf"  better than \d+ % of mine's images, {words}\n", capsys.readouterr().out)
    page = html.unescape(Path("scores.html").read_text(encoding="utf-8"))
    assert f"“Better than” is the percentile among mine's images, {words}." in page and "human ratings" not in page


def test_scores_of_a_regressor_that_was_fitted_again_are_not_mixed_with_earlier_ones(photos: Path, tried: Path) -> None:
    """An experiment that is trained further or tested with other settings keeps its name."""
    command = ["--img_path", photos / "b.png", *OWN, "--output", "scores.csv"]
    assert run(*command) == run(*command) == 0
    path = tried / "regressors" / "regressor_mine.pth"
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
    assert run("--img_path", photos / "b.png", "--weights_dir", released, "--explain") == 0
    first, *crops, written = capsys.readouterr().out.splitlines()
    regressor = random_regressor(list(RELEASED_SCORES).index("kadid10k"))
    expected = ((regressor(crop_features(encoder, photos / "b.png")) - 1) / 4).flatten().tolist()
    names, scores = zip(*(line.split(": ") for line in crops), strict=True)
    assert names == ("centre", "top left", "bottom left", "top right", "bottom right")
    assert [float(score) for score in scores] == pytest.approx(expected, abs=1e-5)
    assert float(first.split()[0]) == pytest.approx(np.mean(expected), abs=1e-5)
    assert written == "quality map: b_quality.png"
    with Image.open(tmp_path / "b_quality.png") as painted:  # text and margins are black and white
        assert (np.ptp(np.asarray(painted.convert("RGB"), dtype=int), axis=2) > 20).mean() > 0.2


def test_the_scores_of_a_folder_are_printed_and_written_to_a_file_and_a_page(
    photos: Path, released: Path, quantiles: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, report = tmp_path / "out" / "scores.csv", tmp_path / "scores.html"
    command = ["--img_path", photos, "--weights_dir", released]
    assert run(*command, "--report", report) == 1  # two images have no score
    printed = dict(line.rsplit(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert "Scores of 6 images" in report.read_text(encoding="utf-8")

    earlier = photos / "earlier.png"  # the page with --output has all images of the file
    shutil.copyfile(photos / "b.png", earlier)
    assert run("--img_path", earlier, *command[2:], "--output", output) == 0
    earlier.unlink()
    assert run(*command, "--output", output, "--report", report) == 1
    first, *rows = rows_of(output)
    assert first["image"] == str(earlier)
    assert [row["image"] for row in rows] == [str(path) for path in find_files(str(photos))]
    for row in rows:
        if row["image"].endswith(("broken.png", "pixel.png")):
            assert row["error"] and not row["score"] and not row["percentile"]
            continue
        score = float(row["score"])
        assert float(row["percentile"]) == pytest.approx(percentile(score), abs=2e-2)
        words = f"better than {percentile(score):.0f} % of kadid10k's images, according to its human ratings"
        assert printed[row["image"]] == f"{row['score']}  {words}"
    assert any("pixel.png: 1 x 1 pixels; expected at least 32" in row["error"] for row in rows)
    text = report.read_text(encoding="utf-8")
    assert "Scores of 7 images" in text and f"released weights, kadid10k, crops of {CROP}" in text
    assert f"{report}: 7 images, 1 without a picture" in capsys.readouterr().err
    with pytest.raises(UserError, match="has scores of released weights, kadid10k"):
        run(*command, "--output", output, "--regressor_dataset", "live")


def test_several_regressors_give_a_line_each_and_their_agreement(
    photos: Path, released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--img_path", photos / "b.png", "--weights_dir", released]
    names = ["kadid10k", "koniq10k", "live"]
    alone = {}
    for name in ("live", "kadid10k", "koniq10k"):
        assert run(*command, "--regressor_dataset", name, "--output", tmp_path / f"{name}.csv") == 0
        (alone[name],) = rows_of(tmp_path / f"{name}.csv")
        assert run(*command, "--regressor_dataset", name) == 0
        alone[name]["printed"] = capsys.readouterr().out.splitlines()[-1]
    assert run(*command, "--regressor_dataset", *names) == 0
    *lines, agreement = capsys.readouterr().out.splitlines()
    assert lines == [f"{name}: {row['printed']}" for name, row in alone.items()]
    known = [float(alone[name]["percentile"]) for name in ("live", "kadid10k")]
    mean, low, high = np.mean(known), min(known), max(known)
    assert agreement == f"agreement of 2 regressors: mean percentile {mean:.0f}, range {low:.0f} to {high:.0f}"

    for order in (names, names[::-1]):  # the second run continues the file
        assert (
            run("--img_path", photos, *command[2:], "--regressor_dataset", *order, "--output", tmp_path / "s.csv") == 1
        )
    assert "6 images, 2 without a score" in capsys.readouterr().out
    rows = {Path(row["image"]).name: row for row in rows_of(tmp_path / "s.csv")}
    assert len(rows) == 6
    row = rows["b.png"]
    assert list(row)[1:7] == [f"{what}_{name}" for name in alone for what in ("score", "percentile")]
    for name, single in alone.items():
        assert (row[f"score_{name}"], row[f"percentile_{name}"]) == (single["score"], single["percentile"])
    found = [float(row[f"percentile_{name}"]) for name in ("mean", "low", "high")]
    assert found == pytest.approx([mean, low, high], abs=0.01)
    assert row["model"] == f"released weights, live, kadid10k, koniq10k, crops of {CROP}"
    with pytest.raises(UserError, match=r"not a file of scores of live koniq10k \(its columns are image,score_live"):
        run(*command, "--regressor_dataset", "koniq10k", "live", "--output", tmp_path / "s.csv")


def test_all_regressors_of_an_experiment_follow_their_files(
    photos: Path, tried: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["--eval_type", "scratch", "--experiment_name", "tried", "--device", "cpu"]
    single = []
    for name in ("kadid10k", "mine"):  # images are resized for one of them
        command = [*own, "--img_path", str(photos / "b.png"), "--regressor_dataset", name]
        assert single_image_inference.main(command) == 0
        single.append(f"{name}: {capsys.readouterr().out.strip()}")
    command = [*own, "--img_path", str(photos / "b.png"), "--regressor_dataset", "all"]
    assert single_image_inference.main(command) == 0
    assert capsys.readouterr().out.splitlines() == single  # without percentiles there is no agreement
    assert single_image_inference.main([*command, "--output", "scores.csv"]) == 0
    (row,) = rows_of(Path("scores.csv"))
    hashes = [ARNIQA(name, experiment=tried).regressor_hash for name in ("kadid10k", "mine")]
    kadid10k, mine = f"kadid10k {hashes[0]} (crops of 48)", f"mine {hashes[1]} (crops of 48, shorter side of 60)"
    assert row["model"] == f"{Path('experiments/tried')}, {kadid10k}, {mine}"
    assert row["percentile_mean"] == row["percentile_mine"] == ""


def test_whole_images(photos: Path, released: Path, tmp_path: Path) -> None:
    command = ["--img_path", photos, "--weights_dir", released, "--crops", "whole", "--device", "cpu"]
    command += ["--output", tmp_path / "scores.csv"]
    assert single_image_inference.main([str(word) for word in command]) == 1
    model = ARNIQA("kadid10k", released)
    for row in rows_of(tmp_path / "scores.csv"):
        assert row["model"] == "released weights, kadid10k, whole images"
        if not row["error"]:
            assert float(row["score"]) == pytest.approx(model.score(row["image"], crops="whole").item(), abs=2e-6)


def test_a_list_is_scored_as_a_folder_is(
    photos: Path, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photos)
    images = ["b.png", "no such.png", "sub/alpha.png", ".", "b.png"]
    (tmp_path / "list.txt").write_text("\n".join(images), encoding="utf-8")
    command = ["--img_list", tmp_path / "list.txt", "--weights_dir", released]
    assert run(*command, "--output", tmp_path / "scores.csv") == 1
    rows = {row["image"]: row for row in rows_of(tmp_path / "scores.csv")}
    assert list(rows) == ["b.png", "no such.png", str(Path("sub/alpha.png")), "."]
    assert "no such file" in rows["no such.png"]["error"] and "not a regular file" in rows["."]["error"]
    capsys.readouterr()
    assert run(*command) == 1
    printed = capsys.readouterr()
    assert [line.split(": ")[0] for line in printed.out.splitlines()] == ["b.png", str(Path("sub/alpha.png")), "b.png"]
    assert printed.out.splitlines()[0].split()[1] == rows["b.png"]["score"]
    assert "error: no such.png: not a readable image (no such file)" in printed.err
    for workers in (0, 2):
        with standard_input(b"b.png\n" * 9):
            assert run("--img_list", "-", *command[2:], "--num_workers", workers, "--batch_size", 2) == 0
        assert capsys.readouterr().out == printed.out.splitlines(keepends=True)[0] * 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--img_path", "x", "--eval_type", "scratch"], "--experiment_name"),
        (["--img_path", ""], "--img_path: is empty"),
        (["--img_path", CONFIG, "--device", "gpu"], "--device: found 'gpu', allowed: auto, cpu"),
        (["--img_path", CONFIG, "--resize", "31"], "--resize: found '31'; allowed: integer in [32, 8192]"),
        (["--img_path", CONFIG, "--quality_map", "map.xyz"], "ends in .png"),
        (["--img_path", CONFIG, "--report", CONFIG], "ends in .html"),
        (["--img_path", CONFIG.parent / "assets", "--explain"], "--explain: found 7 images"),
        (["--img_path", CONFIG, "--explain", "--output", "scores.csv"], "--explain, --output: found both"),
        (["--img_path", CONFIG, "--explain", "--crops", "whole"], "--explain, --crops whole: found both"),
        (
            ["--img_path", CONFIG, "--explain", "--regressor_dataset", "all"],
            "--explain, several regressors: found both",
        ),
        (["--img_list", CONFIG, "--quality_map", "x.png"], "--quality_map, --img_list: found both"),
        (["--img_list", CONFIG, "--img_path", CONFIG], "--img_path: not allowed with argument --img_list"),
        (["--crops", "five"], "one of the arguments --img_path --img_list is required"),
        (["--img_list", ""], "--img_list: is empty"),
        (["--img_path", CONFIG, "--reference", CONFIG], "--experiment_name to an experiment"),
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
