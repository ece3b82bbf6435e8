"""Long checks that the tests leave out, of many kills and of many runs beside each other.

python -m tests.soak kills [--processes 2] [--kills 20]
python -m tests.soak chains [--chains 60] [--beside 4]
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.test_train import ROOT, assert_same, outcome, write_small_run

LIMIT = 900  # seconds that a command may take


def kills(folder: Path, processes: int, count: int) -> None:
    """Trains, validates and tests, killed at random moments, and compares all that is left with a run left alone."""
    write_small_run(folder)
    start = random.Random(processes)
    seconds = finish_alone(folder, processes)
    shutil.rmtree(folder / "experiments" / ".features")  # which the killed run would find and use
    done = attempts = 0
    while True:
        run = command(processes, "killed", "--training.resume_training", "true")
        process = subprocess.Popen(
            run,
            cwd=folder,
            env=environment(),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        attempts += 1
        try:
            # Starting takes a while in which nothing is at risk; a run killed as early would never get anywhere.
            wait = start.uniform(0.3 * seconds, seconds) if done < count else LIMIT
            _, errors = process.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if done == count:
                raise
            done += 1
            print(f"kill {done} after {wait:.1f} s: {progress(folder / 'experiments' / 'killed')}", flush=True)
            continue
        if process.returncode:
            raise SystemExit(f"start {attempts} failed: {errors.decode()}")
        if done < count:  # it ended before its kill: kill the next one too, from the beginning
            compare(folder)
            for name in ("killed", ".features"):
                shutil.rmtree(folder / "experiments" / name)
            print(f"ended between kills, bit-identical ({done} kills)", flush=True)
            continue
        break
    compare(folder)
    print(f"{done} kills, {processes} process(es): checkpoint, history, results and regressors bit-identical")


def finish_alone(folder: Path, processes: int) -> float:
    """Makes the run that is not killed, and returns its seconds."""
    since = time.perf_counter()
    run = command(processes, "alone")
    subprocess.run(run, cwd=folder, env=environment(), check=True, timeout=LIMIT, stdout=subprocess.DEVNULL)
    return time.perf_counter() - since


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


def command(processes: int, name: str, *options: str) -> list[str]:
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    script = [str(ROOT / "main.py"), "--config", "config.yaml", "--experiment_name", name]
    return [*launcher, *script, "--training.epochs", "4", *options]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


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
            run = subprocess.run(
                [sys.executable, str(ROOT / script), *arguments],
                cwd=folder,
                env=environment(),
                capture_output=True,
                text=True,
                timeout=LIMIT,
            )
            if run.returncode:
                failed.append(f"{name}: {script} ended with {run.returncode}: {run.stderr[-2000:]}")
        shutil.rmtree(folder / "experiments" / name / "pretrain", ignore_errors=True)  # 300 MB
        return failed

    failed: list[str] = []
    with ThreadPoolExecutor(beside) as pool:
        for i, lines in enumerate(pool.map(chain, range(count)), start=1):
            failed += lines
            print(f"{i} of {count} chains, {len(failed)} commands failed", flush=True)
    scores = {(folder / f"chain_{i}.csv").read_text().count("\n") for i in range(count)}
    leave_nothing(folder)
    if failed or len(scores) != 1:
        raise SystemExit("\n".join([*failed, f"lines of the files of scores: {scores}"]))
    print(f"{count} chains, {beside} at a time: none failed, no partial file")


def write_own_dataset(folder: Path) -> None:
    """The images of KADID-10k once more, without splits: the first of the runs has to make them."""
    shutil.copytree(folder / "data" / "KADID10K" / "images", folder / "data" / "mine" / "images")
    names = sorted(path.name for path in (folder / "data" / "mine" / "images").iterdir())
    rows = [f"images/{name},{i}" for i, name in enumerate(names)]
    (folder / "data" / "mine" / "labels.csv").write_text("\n".join(["image,score", *rows]) + "\n")


def leave_nothing(folder: Path) -> None:
    """Ends the check if a file is left that a run had begun and not finished."""
    left = [str(path) for kind in ("partial", "progress") for path in folder.rglob(f"*.{kind}")]
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
