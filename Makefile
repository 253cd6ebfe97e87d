# make demo: from a bare Debian or Ubuntu machine to the sample slide with what the model found on it.
# make test: the same set-up, then every check and every test.
# Both are safe to repeat, and quick when neither pyproject.toml nor constraints.txt has changed.
# Another interpreter: make PYTHON=python3.12 test

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

# Only a demo on a real screen does without the virtual one.
SCREEN := $(if $(filter-out demo,$(or $(MAKECMDGOALS),demo)),,$(DISPLAY)$(WAYLAND_DISPLAY))
LIBRARIES := libdbus-1-3 libegl1 libfontconfig1 libgl1 libgl1-mesa-dri libglib2.0-0 libxcb-cursor0 libxcb-icccm4 \
	libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libxcb-xkb1 \
	libxkbcommon-x11-0 $(if $(SCREEN),,xauth xvfb)

HEADLESS = env -u WAYLAND_DISPLAY -u PYTHONDONTWRITEBYTECODE QT_QPA_PLATFORM=xcb LIBGL_ALWAYS_SOFTWARE=1 \
	NAPARI_CONFIG="$$(mktemp -d)/settings.yaml" xvfb-run -a -s "-screen 0 1680x1050x24"

.PHONY: demo test check system

demo: $(INSTALLED)
	$(if $(SCREEN),,env -u QT_QPA_PLATFORM LIBGL_ALWAYS_SOFTWARE=1 )$(BIN)/napari-lumen demo --out demo_output

# One process more than the two cores, for a seventh of the time a test waits. Each with one thread: more would wait for
# each other longer than they compute. The slow files come first, by tests/conftest.py. Bytecode is kept whatever the
# environment says: many tests start processes.
test: check
	OMP_NUM_THREADS=1 $(HEADLESS) $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations=30

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(INSTALLED): pyproject.toml constraints.txt | system
	@if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
		echo "napari-lumen needs Python 3.11 or newer, and $(PYTHON) is not: name one, as in make PYTHON=python3.12 $(MAKECMDGOALS)." >&2
		exit 1
	fi
	if ! $(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
		$(PYTHON) -m venv --clear .venv
	fi
	set -x
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[pyqt6,test]' </dev/null
	touch $@

# Qt's libraries and Python's venv. A package may have gained the suffix t64 (64-bit time) since.
system:
	@command -v dpkg-query >/dev/null || exit 0
	installed() { grep -qx installed < <(dpkg-query -W -f '$${db:Status-Status}\n' "$$1" "$$1t64" 2>/dev/null); }
	missing=()
	for package in $(LIBRARIES); do
		installed "$$package" || missing+=("$$package")
	done
	if ! command -v $(PYTHON) >/dev/null; then
		missing+=(python3 python3-venv)
	elif ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then
		missing+=("$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')")
	fi
	[ $${#missing[@]} -gt 0 ] || exit 0
	if [ "$$(id -u)" -ne 0 ]; then
		echo "System packages are missing; install them, then call make again:" >&2
		echo "sudo apt-get update && sudo apt-get install -y --no-install-recommends $${missing[*]}" >&2
		exit 1
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get update </dev/null
	apt-get install -y --no-install-recommends "$${missing[@]}" </dev/null
