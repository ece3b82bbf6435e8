import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes import run

ROOT = Path(__file__).resolve().parents[1]

# A program in a project with packages of the same names and without the requirements of the training pipeline.
PROGRAM = """
import sys
for name in ("pandas", "wandb", "sklearn", "scipy", "skimage", "yaml", "matplotlib", "openpyxl", "tqdm"):
    sys.modules[name] = None  # makes the import fail
import data, models, utils
import torch
import torchvision.transforms as transforms
from PIL import Image
load = lambda dataset: torch.hub.load(
    repo_or_dir=sys.argv[1], source="local", model="ARNIQA", regressor_dataset=dataset, trust_repo=True)
model = load("kadid10k")
model.eval().to("cpu")
preprocess = transforms.Compose([
    transforms.ToTensor(),
    transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
])
img = Image.linear_gradient("L").resize((70, 50)).convert("RGB")
img_ds = transforms.Resize((img.size[1] // 2, img.size[0] // 2))(img)
img = preprocess(img).unsqueeze(0)
img_ds = preprocess(img_ds).unsqueeze(0)
with torch.no_grad():
    score = model(img, img_ds, return_embedding=False, scale_score=True)
    other = load("live")(img, img_ds)
picture = Image.linear_gradient("L").resize((70, 50)).convert("RGB")
picture.save("picture.png")
whole = model.score("picture.png", crops="whole")
pixels = transforms.ToTensor()(picture).requires_grad_()
loss = 1 - model.score([pixels, picture])
loss.sum().backward()
encoder = torch.hub.load(sys.argv[1], "ARNIQA_encoder", source="local")
features = encoder(img)
assert features.shape == (1, 2048) and pixels.grad.isfinite().all()
assert data.own and models.own and utils.own
assert not {"data", "models", "utils"} & {name.rpartition(".")[0] for name in sys.modules}  # no part of ours
print(score.item(), other.item(), whole.item(), *(1 - loss).tolist(), *features[0, :3].tolist())
"""


def test_two_models_load_in_a_project_with_packages_of_the_same_names(released: Path, tmp_path: Path) -> None:
    for name in ("data", "models", "utils"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("own = True\n", encoding="utf-8")
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    result = run(
        [sys.executable, "program.py", str(ROOT)],
        cwd=tmp_path,
        env={**os.environ, "ARNIQA_WEIGHTS_DIR": str(released), "TORCH_HOME": str(tmp_path / "torch")},
    )
    assert result.returncode == 0, result.stderr
    printed = [float(word) for word in result.stdout.split()]

    import torch
    from PIL import Image
    from torchvision.transforms.functional import normalize, resize, to_tensor

    from models.arniqa import ARNIQA

    image = Image.linear_gradient("L").resize((70, 50)).convert("RGB")
    scales = [
        normalize(to_tensor(scale), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]).unsqueeze(0)
        for scale in (image, resize(image, [25, 35]))
    ]
    with torch.no_grad():
        for dataset, score in zip(("kadid10k", "live"), printed[:2], strict=True):
            assert abs(ARNIQA(dataset, released)(*scales).item() - score) < 1e-5
        assert abs(printed[2] - printed[0]) < 1e-5  # score(crops="whole") is the same
        model = ARNIQA("kadid10k", released)
        features = model.encoder.features(scales[0])
        expected = [*model.score([to_tensor(image), image]).tolist(), *features[0, :3].tolist()]
        assert all(abs(one - two) < 1e-5 for one, two in zip(printed[3:], expected, strict=True))


def test_the_hub_lists_each_entry_with_help_that_says_what_goes_in_and_comes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    cached = tmp_path / "owner_name_main"  # where torch.hub has what it got from GitHub
    shutil.copytree(ROOT / "models", cached / "models", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "hubconf.py", cached)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    entries = torch.hub.list("owner/name:main", skip_validation=True, trust_repo=True)
    assert sorted(entries) == ["ARNIQA", "ARNIQA_encoder"]
    for entry in entries:
        text = torch.hub.help("owner/name:main", entry, skip_validation=True, trust_repo=True)
        assert "Args:" in text and "N x 3 x H x W" in text and "weights_dir" in text


def test_the_examples_of_the_readme_run(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Use it from Python\n")[1].split("\n## ")[0]
    first, loss = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert 'torch.hub.load("owner/name", ' in first
    monkeypatch.setenv("ARNIQA_WEIGHTS_DIR", str(released))
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec(first.replace('"owner/name", ', '".", source="local", model='), names)
    exec(loss, names)
    assert names["score"].ndim == 0 and names["restored"].grad.abs().max() > 0


def test_without_network_the_traceback_is_short_and_says_what_to_do(tmp_path: Path) -> None:
    program = "import sys, torch; torch.hub.load(sys.argv[1], 'ARNIQA', source='local', regressor_dataset='kadid10k')"
    offline = {"https_proxy": "http://127.0.0.1:9", "TORCH_HOME": str(tmp_path)}  # no server listens on that port
    environment = {name: value for name, value in os.environ.items() if name != "ARNIQA_WEIGHTS_DIR"} | offline
    ended = run([sys.executable, "-c", program, str(ROOT)], env=environment)
    lines = ended.stderr.splitlines()
    assert sum(line.startswith("Traceback") for line in lines) == 1
    assert "WeightsError" in lines[-1] and "ARNIQA.pth" in lines[-1] and "weights_dir" in lines[-1]
