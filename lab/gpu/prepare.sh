#!/usr/bin/env bash
# Collect what lab/gpu/run.sh installs on a machine without a network: lab/gpu/prepare.sh [FOLDER]
# That machine has a GPU, Python 3.12 and torch 2.11 for CUDA 13. Run this where there are registries:
#   PYTHON  a Python 3.12 to compile mmcv with; without it, or with MMCV_AS=source, mmcv travels as source
#   PIP_PYTHON  a Python with torch, such as that of `make setup`: sources need it to tell their names
#   HAVE    packages of the other machine, which are left out: default 'torch numpy'
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
OUT=${1:-$ROOT/work_dirs/gpu_wheels}
PYTHON=${PYTHON:-python3.12}
PIP_PYTHON=${PIP_PYTHON:-$ROOT/.venv/bin/python}
HAVE=${HAVE:-torch numpy}
LIMIT_MIB=64
TORCH='torch==2.11.*'
MMENGINE=onedl-mmengine==0.10.12
MMDET=onedl-mmdetection==3.5.1 # there is no wheel
MMCV=onedl-mmcv==2.3.6
TARGET=(--python-version 3.12 --implementation cp --only-binary=:all:
    --platform manylinux2014_x86_64 --platform manylinux_2_28_x86_64)
# scipy, the largest of all, is needed by no stage.
PACKAGES=("$MMENGINE" addict matplotlib contourpy cycler fonttools kiwisolver opencv-python-headless==4.10.0.84 packaging
    pillow platformdirs pycocotools pygments pyparsing python-dateutil pyyaml regex rich markdown-it-py mdurl shapely six
    termcolor terminaltables tqdm yapf pytorch-optimizer pytest pytest-timeout iniconfig pluggy hypothesis
    sortedcontainers attrs 'setuptools<82' wheel ninja)

source_of() {
    echo "  $1 as source"
    "$PIP_PYTHON" -m pip download -qq --no-deps --no-build-isolation --no-binary :all: -d "$OUT" "$1" 2>/dev/null ||
        { echo "error: $1 was not found." >&2; exit 1; }
}

mkdir -p "$OUT"
rm -f "$OUT"/*.whl "$OUT"/*.tar.gz "$OUT"/wheels.tar.xz
wanted=()
for package in "${PACKAGES[@]}"; do
    name=${package%%[=<]*}
    [[ " $HAVE " == *" $name "* ]] || wanted+=("$package")
done
echo "[prepare 1/3] ${#wanted[@]} packages"
"$PIP_PYTHON" -m pip download -q --no-deps "${TARGET[@]}" -d "$OUT" "${wanted[@]}"
source_of "$MMDET"

cuda13=$(command -v nvcc >/dev/null && nvcc --version | grep -c 'release 13' || true)
if [[ ${MMCV_AS:-} != source ]] && ((cuda13)) && "$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))'; then
    echo '[prepare 2/3] compiling mmcv for compute capability 9.0: 20 minutes and more'
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    "$PYTHON" -m venv "$scratch/venv"
    "$scratch/venv/bin/python" -m pip install -q "$TORCH" 'setuptools<82' wheel ninja numpy
    MMCV_WITH_OPS=1 FORCE_CUDA=1 TORCH_CUDA_ARCH_LIST=9.0 CFLAGS='-O2 -g0' CXXFLAGS='-O2 -g0' \
        "$scratch/venv/bin/python" -m pip wheel -q --no-build-isolation --no-cache-dir --no-deps \
        --no-binary :all: -w "$OUT" "$MMCV"
else
    echo '[prepare 2/3] mmcv as source, to be compiled on the other machine'
    source_of "$MMCV"
fi

echo '[prepare 3/3] one archive, since wheels compress badly by themselves'
python3 - "$OUT" <<'PY'
import sys, tarfile, zipfile
from pathlib import Path

folder = Path(sys.argv[1])
stored = folder / 'stored'
stored.mkdir(exist_ok=True)
for wheel in folder.glob('*.whl'):
    with zipfile.ZipFile(wheel) as packed, zipfile.ZipFile(stored / wheel.name, 'w') as plain:
        for item in packed.infolist():
            plain.writestr(item, packed.read(item), zipfile.ZIP_STORED)
    wheel.unlink()
for source in folder.glob('*.tar.gz'):
    source.rename(stored / source.name)
with tarfile.open(folder / 'wheels.tar.xz', 'w:xz', preset=9) as archive:
    for file in sorted(stored.iterdir()):
        archive.add(file, file.name)
        file.unlink()
stored.rmdir()
PY
size=$(($(stat -c %s "$OUT/wheels.tar.xz") / 2**20))
echo "[prepare] $OUT/wheels.tar.xz: $size MiB of $LIMIT_MIB"
if ((size >= LIMIT_MIB)); then
    echo 'error: it is too large; name packages that the other machine has in HAVE.' >&2
    exit 1
fi
