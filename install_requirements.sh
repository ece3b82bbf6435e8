#!/usr/bin/env bash
# Installs what the project needs into the active virtual or conda environment, or into ./.venv, which it makes
# where none is active. Safe to run again.
#
#   ./install_requirements.sh                        install
#   ./install_requirements.sh --dev                  install what the tests need too
#   ./install_requirements.sh [--dev] COMMAND ...    install, then run COMMAND in that environment
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

fail() {
    echo "install_requirements.sh: $*" >&2
    exit 1
}

supported() { # is "$1" a Python that the project supports?
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

requirements="requirements.txt"
if [ "${1:-}" = "--dev" ]; then
    requirements="requirements-dev.txt"
    shift
fi
case "${1:-}" in
-h | --help)
    sed -n '2,7p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//'
    exit 0
    ;;
-*) fail "unknown option '$1'; only --dev and --help are known" ;;
esac

environment="${VIRTUAL_ENV:-${CONDA_PREFIX:-}}"
if [ -n "$environment" ]; then
    python="python"
    supported "$python" || fail "the active environment $environment has $(python --version 2>&1 || true); Python 3.10 to 3.13 is needed"
else
    environment="$root/.venv"
    if [ ! -e "$environment/pyvenv.cfg" ] || [ ! -e "$environment/bin/python" ] && [ ! -e "$environment/Scripts/python.exe" ]; then
        base=""
        for candidate in python3 python python3.13 python3.12 python3.11 python3.10; do
            if supported "$candidate"; then
                base="$candidate"
                break
            fi
        done
        [ -n "$base" ] || fail "no Python 3.10 to 3.13 found on the PATH; install one (https://www.python.org/downloads) or activate an environment that has one"
        echo "Making the environment $environment with $("$base" --version)"
        "$base" -m venv "$environment" || fail "$base could not make $environment (on Debian and Ubuntu the package python3-venv is needed)"
    fi
    bin="$environment/bin"
    [ -d "$bin" ] || bin="$environment/Scripts"
    export VIRTUAL_ENV="$environment" PATH="$bin:$PATH"
    python="$bin/python"
    supported "$python" || fail "$environment has $("$python" --version 2>&1 || true), but Python 3.10 to 3.13 is needed: remove that folder and run this again"
fi

"$python" -m pip install --quiet --disable-pip-version-check -r "$root/$requirements" ||
    fail "pip could not install $requirements (see above); check the network connection or the package index and run this again"
"$python" -c 'import PIL, jinja2, matplotlib, numpy, openpyxl, pandas, plotly, scipy, skimage, sklearn, torch, torchvision, tqdm, wandb, yaml' ||
    fail "the installed packages do not import (see above); remove $environment and run this again"

if [ $# -gt 0 ]; then
    cd "$root"
    exec "$@"
fi
echo "Ready: $("$python" -c 'import sys, torch, torchvision; print(f"Python {sys.version.split()[0]}, torch {torch.__version__}, torchvision {torchvision.__version__}")') in $environment"
