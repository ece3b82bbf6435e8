import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.processes import run

ROOT = Path(__file__).resolve().parents[1]
WITH_A_WORKER = """
import multiprocessing, pathlib, signal, sys, time
def work():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        pathlib.Path(sys.argv[1]).touch()
        time.sleep(0.01)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
multiprocessing.get_context("fork").Process(target=work, daemon=True).start()
time.sleep(120)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_a_process_that_does_not_end_is_killed_with_its_worker(tmp_path: Path) -> None:
    sign_of_life = tmp_path / "alive"
    with pytest.raises(subprocess.TimeoutExpired):
        run([sys.executable, "-c", WITH_A_WORKER, str(sign_of_life)], limit=10, grace=0.1)
    sign_of_life.unlink()
    time.sleep(0.5)
    assert not sign_of_life.exists()


def test_every_process_is_started_where_it_has_a_limit() -> None:
    without = re.compile(
        r"subprocess\.(run|Popen|call|check_\w+)\(|mp\.spawn\(|os\.system\(|\.(join|wait|communicate)\(\)"
    )
    allowed = {"processes.py", "__main__.py", Path(__file__).name}
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if path.name not in allowed
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if without.search(line)
    ]
    assert not found
