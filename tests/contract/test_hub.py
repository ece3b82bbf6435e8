"""The hub: two lines in a project that has packages of the same names and few packages installed."""

import multiprocessing
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.models import resnet50
from torchvision.transforms.functional import normalize, resize, to_tensor

from tests.contract.runs import ROOT, environment
from tests.processes import run

# The program of the published README, and `score`.
PROGRAM = """
import sys
absent = ("pandas", "wandb", "sklearn", "scipy", "skimage", "yaml", "matplotlib", "openpyxl", "tqdm", "plotly",
    "jinja2", "filelock", "imagecodecs")
import torch  # torch itself may import some of them if they are there
for name in absent:
    for loaded in [found for found in sys.modules if found.split(".")[0] == name]:
        del sys.modules[loaded]
    sys.modules[name] = None  # makes the import fail
import data, models, utils
import torchvision.transforms as transforms
from PIL import Image

model = torch.hub.load(
    repo_or_dir=sys.argv[1], source="local", model="ARNIQA", regressor_dataset="kadid10k", trust_repo=True)
model.eval().to("cpu")
preprocess = transforms.Compose([
    transforms.ToTensor(),
    transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
])
picture = Image.open("picture.png").convert("RGB")
img, img_ds = picture, transforms.Resize((picture.size[1] // 2, picture.size[0] // 2))(picture)
img, img_ds = preprocess(img).unsqueeze(0), preprocess(img_ds).unsqueeze(0)
with torch.no_grad():
    score = model(img, img_ds, return_embedding=False, scale_score=True)
    _, embedding = model(img, img_ds, return_embedding=True)
assert embedding.shape == (1, 4096)
assert (model.regressor_dataset, model.encoder.feat_dim) == ("kadid10k", 2048)
pixels = transforms.ToTensor()(picture).requires_grad_()
model.score(pixels).backward()
assert pixels.grad.abs().sum() > 0
assert data.own and models.own and utils.own
assert not {"data", "models", "utils"} & {name.rpartition(".")[0] for name in sys.modules}
print(score.item(), model.score("picture.png", crops="whole").item(), model.score(picture).item())
"""


def test_the_hub_in_a_project_of_its_own(released: Path, tmp_path: Path) -> None:
    for name in ("data", "models", "utils"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("own = True\n", encoding="utf-8")
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    picture = Image.linear_gradient("L").resize((71, 50)).convert("RGB")
    picture.save(tmp_path / "picture.png")
    variables = environment(ARNIQA_WEIGHTS_DIR=released, TORCH_HOME=tmp_path / "torch")
    ended = run([sys.executable, "program.py", str(ROOT)], cwd=tmp_path, env=variables)
    assert ended.returncode == 0, ended.stderr
    printed = [float(word) for word in ended.stdout.split()]

    # The same from torchvision and the weights files alone.
    backbone = resnet50(weights=None)
    backbone.fc = torch.nn.Identity()
    state = torch.load(released / "ARNIQA.pth", weights_only=True)
    own = torch.nn.Sequential(*list(backbone.children())[:-1])
    own.load_state_dict({name.removeprefix("model."): v for name, v in state.items() if name.startswith("model.")})
    own.eval()
    regressor = torch.jit.load(str(released / "regressor_kadid10k.pth"))

    def embed(images: torch.Tensor) -> torch.Tensor:
        images = normalize(images, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        return torch.nn.functional.normalize(own(images).flatten(1))

    def cut(image: Image.Image) -> torch.Tensor:
        w, h = image.size
        corners = [(w // 2 - 112, h // 2 - 112), (0, 0), (0, h - 224), (w - 224, 0), (w - 224, h - 224)]
        return torch.stack([to_tensor(image.crop((x, y, x + 224, y + 224))) for x, y in corners])

    half = resize(picture, [25, 35])
    with torch.no_grad():
        expected = []
        for full_scale, half_scale in (
            (to_tensor(picture).unsqueeze(0), to_tensor(half).unsqueeze(0)),
            (cut(picture), cut(half)),
        ):
            features = torch.hstack([embed(full_scale), embed(half_scale)])
            scores = features @ regressor.weights.T + regressor.biases
            expected.append((scores.mean().item() - 1) / 4)
    assert printed == pytest.approx([expected[0], *expected], abs=1e-5)


OTHER_PROCESS = """
import multiprocessing
import sys
import torch

def score(model):
    return model.score("picture.png").item()

if __name__ == "__main__":
    repository, *methods = sys.argv[1:]
    model = torch.hub.load(repository, "ARNIQA", source="local", trust_repo=True)
    encoder = torch.hub.load(repository, "ARNIQA_encoder", source="local", trust_repo=True)
    torch.save([model, encoder], "model.pt")
    for method in methods:
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(pool.apply(score, (model,)))
    print(score(model))
"""
FROM_FILE = """
import torch
model, encoder = torch.load("model.pt", weights_only=False)
assert encoder(torch.zeros(1, 3, 64, 64)).shape == (1, 2048) and not model.training
print(model.score("picture.png").item())
"""


def test_a_hub_model_in_another_process(released: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(OTHER_PROCESS, encoding="utf-8")
    Image.linear_gradient("L").resize((71, 50)).convert("RGB").save(tmp_path / "picture.png")
    options = {"cwd": tmp_path, "env": environment(ARNIQA_WEIGHTS_DIR=released)}
    methods = [method for method in multiprocessing.get_all_start_methods() if method != "fork"]
    scores = []
    for program in (["program.py", str(ROOT), *methods], ["-c", FROM_FILE]):
        ended = run([sys.executable, *program], **options)
        assert ended.returncode == 0, ended.stderr
        scores += ended.stdout.split()
    assert len(scores) == len(methods) + 2 and len(set(scores)) == 1
