"""Commands as forks of a process that has imported the libraries, which takes most of a short command's time.

A request is a line of JSON: a command, which comes with the files of its two outputs, or the number of a process. The
answer is the number of the new process, or the exit code of the process, null while it runs. A fork imports our modules
itself, in a session of its own, and ends as other processes do. Of the variables that Python reads at its start,
PYTHONIOENCODING alone has its effect.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache, partialmethod
from pathlib import Path
from threading import Timer
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 600  # seconds for one command
LIBRARIES = (
    "torch", "torch._dynamo", "torch.distributed.run", "torch.export", "torchvision", "jinja2", "matplotlib.figure",
    "openpyxl", "pandas", "plotly.graph_objects", "scipy.stats", "skimage.data", "skimage.metrics",
    "sklearn.linear_model", "sklearn.manifold", "tqdm", "yaml",
)  # fmt: skip


def execute(
    name: str, arguments: list[str], folder: str, variables: dict[str, str], file_size: int | None, files: list[int]
) -> None:
    for number, file in enumerate(files, 1):
        os.dup2(file, number)
        os.close(file)
    if file_size is not None:
        import resource  # POSIX

        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    encoding = variables.get("PYTHONIOENCODING", "utf-8")
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", encoding=encoding)
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1, encoding=encoding, errors="backslashreplace")
    sys.argv = [name, *arguments]
    script = ROOT / name
    sys.path[0] = str(ROOT) if script.is_file() else folder
    if script.is_file():
        runpy.run_path(str(script), run_name="__main__")
    else:
        sys.path.append(str(ROOT))
        runpy.run_module(name, run_name="__main__", alter_sys=True)


def receive(connection: socket.socket) -> tuple[Any, list[int]]:
    """The content of a line, and the files that came with it.

    Raises:
        EOFError: the process at the other end has ended.
    """
    line, files = b"", []
    while not line.endswith(b"\n"):
        part, more, *_ = socket.recv_fds(connection, 2**16, 2)
        if not part:
            raise EOFError
        line += part
        files += more
    return json.loads(line), files


def serve(connection: socket.socket) -> None:
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.collect()
    gc.freeze()  # the forks' garbage collections would copy the memory that they share
    while True:
        try:
            request, files = receive(connection)
        except EOFError:
            return
        if files:
            answer = os.fork()
            if answer == 0:
                connection.close()
                os.setsid()
                signal.alarm(LIMIT)
                execute(**request, files=files)
                return
            for file in files:
                os.close(file)
        else:
            number, status = os.waitpid(request, os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if number else None
        connection.sendall(f"{json.dumps(answer)}\n".encode())


@cache
def server() -> socket.socket:
    """The connection to the server of this test process, with which it ends."""
    ours, its = socket.socketpair()
    command = [sys.executable, "-m", "tests.contract.fork_server", str(its.fileno())]
    null = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=ROOT, pass_fds=[its.fileno()], stdin=null, stdout=null)
    atexit.register(process.wait)
    atexit.register(process.kill)  # before it
    its.close()
    return ours


def ask(request: object, files: Sequence[int] = ()) -> Any:
    line = f"{json.dumps(request)}\n".encode()
    sent = socket.send_fds(server(), [line], files) if files else 0
    server().sendall(line[sent:])
    return receive(server())[0]


class Forked:
    """A command in a fork, with what the tests need of `subprocess.Popen`."""

    def __init__(self, **request: Any) -> None:
        self.args, self.returncode = request["name"], None
        pipes = [os.pipe() for _ in range(2)]
        self.pid = ask(request, [write for _, write in pipes])
        for _, write in pipes:
            os.close(write)
        self.stdout, self.stderr = (os.fdopen(read, encoding="utf-8") for read, _ in pipes)

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = ask(self.pid)
        return self.returncode

    def wait(self, timeout: float = LIMIT) -> int:
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.01)
        return self.returncode

    def communicate(self, timeout: float = LIMIT) -> tuple[str, str]:
        """What is left of the outputs, once neither it nor a process that it started can write to them."""
        limit = Timer(timeout, os.killpg, (self.pid, signal.SIGKILL))
        limit.daemon = True
        limit.start()
        out, err = self.stdout.read(), self.stderr.read()  # a few lines each, so it does not wait for the second reader
        self.wait()
        if limit.finished.is_set():
            raise subprocess.TimeoutExpired(self.args, timeout)
        limit.cancel()
        return out, err

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    terminate = partialmethod(send_signal, signal.SIGTERM)
    kill = partialmethod(send_signal, signal.SIGKILL)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
