import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


def test_the_hub_lists_each_entry_with_help_that_says_what_goes_in_and_comes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = tmp_path / "owner_name_main"  # where torch.hub has what it got from GitHub
    shutil.copytree(ROOT / "models", cached / "models", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "hubconf.py", cached)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    entries = torch.hub.list("owner/name:main", skip_validation=True, trust_repo=True)
    assert sorted(entries) == ["ARNIQA", "ARNIQA_encoder"]
    for entry in entries:
        text = torch.hub.help("owner/name:main", entry, skip_validation=True, trust_repo=True)
        assert "Args:" in text and "N x 3 x H x W" in text and "weights_dir" in text


def test_the_examples_of_the_documentation_run(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = (ROOT / "docs" / "inference.md").read_text(encoding="utf-8").split("\n## Python\n")[1].split("\n## ")[0]
    first, loss, several = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert 'torch.hub.load("owner/name", ' in first
    monkeypatch.setenv("ARNIQA_WEIGHTS_DIR", str(released))
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    exec(first.replace('"owner/name", ', '".", source="local", model='), names)
    exec(loss, names)
    assert names["score"].ndim == 0 and names["restored"].grad.abs().max() > 0
    exec(several.replace('"owner/name", ', '".", source="local", model='), names)
    assert names["scores"].shape == (2, 3) and names["model"].regressor_dataset == ("kadid10k", "tid2013", "spaq")
