#!/bin/sh
# Makes the virtual environment $1 with $PYTHON (3.11 or newer), and says in one sentence what is missing.
set -eu
venv=$1
python=${PYTHON:-python3}
need_gb=10 # 7 for the packages, the rest for what pip fetches and unpacks on the way

install() { # Debian and Ubuntu split Python up; root may mend that without asking
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing $* …"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    else
        echo "CMLscope needs $*: run  sudo apt-get install $*  and then make again." >&2
        exit 1
    fi
}

command -v "$python" >/dev/null || install python3 python3-venv
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "CMLscope needs Python 3.11 or newer, and $python is older: name a newer one with  make PYTHON=python3.12." >&2
    exit 1
}
"$python" -c 'import ensurepip, venv' 2>/dev/null || install "python3-venv"
free_gb=$(df -Pk . | awk 'NR == 2 {print int($4 / 1048576)}')
[ "$free_gb" -ge "$need_gb" ] || {
    echo "CMLscope needs $need_gb GB of disk for its packages, and there are $free_gb GB left: make room and make again." >&2
    exit 1
}
"$python" -m venv "$venv"
