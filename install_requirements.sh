#!/usr/bin/env bash
# Installs the requirements into the active virtual or conda environment. If none is active, uses ./.venv and creates
# it if needed. You can run this script again at any time.
#
#   ./install_requirements.sh                        install the requirements
#   ./install_requirements.sh --dev                  also install the requirements of the tests
#   ./install_requirements.sh [--dev] COMMAND ...    install, then run COMMAND in the environment
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

fail() {
    echo "install_requirements.sh: $*" >&2
    exit 1
}

supported() { # whether "$1" is a supported Python version
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1
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
-*) fail "$1: unknown option; use --dev or --help" ;;
esac

environment="${VIRTUAL_ENV:-${CONDA_PREFIX:-}}"
if [ -n "$environment" ]; then
    python="python"
    supported "$python" || fail "$environment: the active environment has $(python --version 2>&1 || true); use Python 3.10 to 3.14"
else
    environment="$root/.venv"
    if [ ! -e "$environment/pyvenv.cfg" ] || [ ! -e "$environment/bin/python" ] && [ ! -e "$environment/Scripts/python.exe" ]; then
        base=""
        for candidate in python3 python python3.14 python3.13 python3.12 python3.11 python3.10; do
            if supported "$candidate"; then
                base="$candidate"
                break
            fi
        done
        [ -n "$base" ] || fail "no Python 3.10 to 3.14 on the PATH; install one (https://www.python.org/downloads) or activate an environment with one"
        echo "Creating the environment $environment with $("$base" --version)"
        "$base" -m venv "$environment" || fail "$environment: $base could not create the environment; on Debian and Ubuntu, install the package python3-venv"
    fi
    bin="$environment/bin"
    [ -d "$bin" ] || bin="$environment/Scripts"
    export VIRTUAL_ENV="$environment" PATH="$bin:$PATH"
    python="$bin/python"
    supported "$python" || fail "$environment: has $("$python" --version 2>&1 || true), but Python 3.10 to 3.14 is needed; delete this folder and run this script again"
fi

"$python" -m pip install --quiet --disable-pip-version-check -r "$root/$requirements" ||
    fail "$requirements: pip could not install it (see above); check the network connection or the package index and run this script again"
"$python" -c 'import PIL, jinja2, matplotlib, numpy, openpyxl, pandas, plotly, scipy, skimage, sklearn, torch, torchvision, tqdm, wandb, yaml' ||
    fail "$environment: the installed packages cannot be imported (see above); delete this folder and run this script again"

if [ $# -gt 0 ]; then
    cd "$root"
    exec "$@"
fi
echo "Ready: $("$python" -c 'import sys, torch, torchvision; print(f"Python {sys.version.split()[0]}, torch {torch.__version__}, torchvision {torchvision.__version__}")') in $environment"
