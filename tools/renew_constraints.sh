#!/bin/sh
# Writes constraints.txt from what python $1 has installed. torch is left to requirements.txt and
# pins its own CUDA packages, which differ by platform.
set -eu
{
    echo "# What the packages of requirements.txt and requirements-dev.txt bring along, pinned. Renewed by: make constraints"
    "$1" -m pip freeze --exclude-editable | grep -v -i -E '^(nvidia|cuda|triton|torch==|cmlscope|nodejs)|^-e | @ '
} >constraints.txt.part
mv constraints.txt.part constraints.txt
