"""Runs commands in forks of a process that has imported the libraries, which takes most of a short command's time.

Reads a line of JSON per command from standard input and answers with its exit code. The forks import our modules
themselves, and each ends as a process of its own does. Variables that Python reads at its start have no effect.
"""

import json
import os
import runpy
import signal
import sys
from pathlib import Path

import matplotlib.figure  # noqa: F401
import pandas  # noqa: F401
import scipy.stats  # noqa: F401
import skimage.data  # noqa: F401
import sklearn.linear_model  # noqa: F401
import torch  # noqa: F401
import torchvision  # noqa: F401

LIMIT = 600  # seconds for one command


def run(name: str, arguments: list[str], folder: str, root: str, files: list[str], variables: dict[str, str]) -> None:
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = [name, *arguments]
    script = Path(root, name)
    sys.path[0] = root if script.is_file() else folder
    if script.is_file():
        runpy.run_path(str(script), run_name="__main__")
    else:
        sys.path.append(root)
        runpy.run_module(name, run_name="__main__", alter_sys=True)


def serve() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            signal.alarm(LIMIT)
            run(**json.loads(line))
            return
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
