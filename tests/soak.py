"""Long checks that the tests leave out, of many kills and of many runs beside each other.

python -m tests.soak kills [--processes 2] [--kills 20]
python -m tests.soak chains [--chains 60] [--beside 4]
"""

import argparse
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.processes import run, started
from tests.test_train import ROOT, assert_same, outcome, write_small_run

LIMIT = 900  # seconds that a run may take


def kills(folder: Path, processes: int, count: int) -> None:
    """Trains, validates and tests, killed at random moments, and compares all that is left with a run left alone."""
    write_small_run(folder)
    times = random.Random(processes)
    since = time.perf_counter()
    errors = run_ranks(folder, "alone", processes, LIMIT)
    if errors:
        raise SystemExit(f"the run left alone failed: {errors}")
    seconds = time.perf_counter() - since
    shutil.rmtree(folder / "experiments" / ".features")  # which the killed run would find and use
    done = 0
    while True:
        # Starting takes a while in which nothing is at risk; a run killed as early would never get anywhere.
        wait = times.uniform(0.3 * seconds, seconds) if done < count else LIMIT
        try:
            errors = run_ranks(folder, "killed", processes, wait)
        except subprocess.TimeoutExpired:
            done += 1
            print(f"kill {done} after {wait:.1f} s: {progress(folder / 'experiments' / 'killed')}", flush=True)
            if done > count:
                raise
            continue
        if errors:
            raise SystemExit(f"a start after {done} kills failed: {errors}")
        compare(folder)
        if done >= count:
            break
        for name in ("killed", ".features"):  # it ended before its kill: once more from the beginning
            shutil.rmtree(folder / "experiments" / name)
        print(f"ended between kills, bit-identical ({done} kills)", flush=True)
    print(f"{done} kills, {processes} process(es): checkpoint, history, results and regressors bit-identical")


def run_ranks(folder: Path, name: str, processes: int, limit: float) -> str:
    """Runs main.py on several processes of this machine; returns what they wrote to standard error if one failed.

    Raises:
        subprocess.TimeoutExpired: they did not end within the limit; they are killed with SIGKILL.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "main.py"), "--config", "config.yaml", "--experiment_name", name]
    command += ["--training.epochs", "4", "--training.resume_training", "true"]
    with ExitStack() as stack:
        started_ranks = []
        for rank in range(processes):
            launched: dict[str, object] = {"OMP_NUM_THREADS": 1}
            if processes > 1:
                launched |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes}
                launched |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            environment = os.environ | {name: str(value) for name, value in launched.items()}
            process = started(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
            started_ranks.append(stack.enter_context(process))
        try:
            end = time.monotonic() + limit
            errors = [process.communicate(timeout=max(0.1, end - time.monotonic()))[1] for process in started_ranks]
        finally:
            for process in started_ranks:
                process.kill()
        return "\n".join(errors) if any(process.returncode for process in started_ranks) else ""


def compare(folder: Path) -> None:
    alone, killed = (folder / "experiments" / name for name in ("alone", "killed"))
    assert_same(outcome(folder, "alone"), outcome(folder, "killed"))
    for path in [*sorted(alone.glob("regressors/*.pth")), alone / "results.csv"]:
        other = killed / path.relative_to(alone)
        if path.read_bytes() != other.read_bytes():
            raise SystemExit(f"{other} differs from that of the run left alone")
    leave_nothing(folder)


def progress(experiment: Path) -> str:
    names = sorted(p.name for p in experiment.glob("pretrain/last_epoch_*.pth"))
    return ", ".join(names) + (" and results" if (experiment / "results.json").exists() else "")


def chains(folder: Path, count: int, beside: int) -> None:
    """Train (two steps), test and score, several chains at a time, with dataset, splits and features shared.

    Chains that run beside each other have the same seed, so that they want the same cached features at once.
    """
    write_small_run(folder)
    few = folder / "few"
    few.mkdir()
    for path in sorted((folder / "data" / "KADIS700" / "ref_imgs").iterdir())[:8]:
        shutil.copy(path, few)
    write_own_dataset(folder)

    def chain(i: int) -> list[str]:
        name = f"chain_{i}"
        options = ["--experiment_name", name, "--config", "config.yaml", "--training.epochs", "1"]
        options += ["--training.data.pristine_path", "few", "--seed", str(i // beside)]
        scoring = ["--eval_type", "scratch", "--experiment_name", name, "--img_path", "few", "--device", "cpu"]
        commands = [
            ["main.py", *options, "--test.datasets", "mine"],
            ["test.py", *options, "--test.datasets", "mine", "kadid10k"],
            ["single_image_inference.py", *scoring, "--regressor_dataset", "mine", "--output", f"{name}.csv"],
        ]
        failed = []
        for script, *arguments in commands:
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            ended = run([sys.executable, str(ROOT / script), *arguments], cwd=folder, env=environment)
            if ended.returncode:
                failed.append(f"{name}: {script} ended with {ended.returncode}: {ended.stderr[-2000:]}")
        shutil.rmtree(folder / "experiments" / name / "pretrain", ignore_errors=True)  # 300 MB
        return failed

    failed: list[str] = []
    with ThreadPoolExecutor(beside) as pool:
        for i, lines in enumerate(pool.map(chain, range(count)), start=1):
            failed += lines
            print("\n".join([*lines, f"{i} of {count} chains, {len(failed)} commands failed"]), flush=True)
    if failed:
        raise SystemExit("\n".join(failed))
    scores = {(folder / f"chain_{i}.csv").read_text().count("\n") for i in range(count)}
    if len(scores) != 1:
        raise SystemExit(f"lines of the files of scores: {scores}")
    leave_nothing(folder)
    print(f"{count} chains, {beside} at a time: none failed, no partial file")


def write_own_dataset(folder: Path) -> None:
    """The images of KADID-10k twice more, without splits: the first of the runs has to make them."""
    images = folder / "data" / "mine" / "images"
    images.mkdir(parents=True)
    for path in (folder / "data" / "KADID10K" / "images").iterdir():
        for number in "12":
            shutil.copy(path, images / f"{number}_{path.name}")
    names = sorted(path.name for path in images.iterdir())
    rows = [f"images/{name},{i}" for i, name in enumerate(names)]
    (folder / "data" / "mine" / "labels.csv").write_text("\n".join(["image,score", *rows]) + "\n")


def leave_nothing(folder: Path) -> None:
    """Ends the check if a file is left that a run had begun and not finished."""
    left = [str(path) for path in folder.rglob("*.partial")]
    if left:
        raise SystemExit(f"left behind: {left}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    checks = parser.add_subparsers(dest="check", required=True)
    add = checks.add_parser("kills").add_argument
    add("--processes", type=int, default=1)
    add("--kills", type=int, default=20)
    add = checks.add_parser("chains").add_argument
    add("--chains", type=int, default=60)
    add("--beside", type=int, default=4)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.check == "kills":
            kills(Path(folder), arguments.processes, arguments.kills)
        else:
            chains(Path(folder), arguments.chains, arguments.beside)


if __name__ == "__main__":
    main()
