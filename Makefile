# Two commands to know: `make demo` and `make test`. Both make the environment first.
SHELL := /bin/sh
.DEFAULT_GOAL := help

# The ROS wheels set this guard in a running Python; a child of another environment must not see it.
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE

BIN := .venv/bin
PYTEST_ARGS ?=
FUZZ_INPUTS ?= 20000
KILLS ?= 200
# Tests of the plain helpers and readers: seconds, where all tests with coverage take minutes.
CORE := config geometry camera cloud trajectory plausible files data/encodings data/picture_files
CORE_TESTS := test/test_config.py test/test_geometry.py test/test_camera.py test/test_cloud.py \
    test/test_trajectory.py test/test_data_encodings.py test/test_plausible.py test/test_files.py
PYTEST_WORKERS ?= -n logical --maxprocesses 4 --dist loadfile

.PHONY: help env demo test coverage core-coverage fuzz lint clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)
	@printf '\nPYTHON=... chooses the interpreter (3.10 to 3.13), PYTEST_ARGS=... goes to pytest.\n'

env: ## make or refresh .venv: locked packages, ROS 2 (unless sourced), this project
	@python=$$(sh tools/find_python.sh) && "$$python" tools/environment.py

demo: env ## run the real node on the shipped sequence, results in demo_output/
	@$(BIN)/mem3r demo

test: env ## run every test
	@$(BIN)/python -m pytest $(PYTEST_WORKERS) $(PYTEST_ARGS)

coverage: env ## run every test and print the lines that none has run (about twice the time)
	@$(BIN)/python -m pytest $(PYTEST_WORKERS) $(PYTEST_ARGS) --cov=mem3r_ros \
	    --cov-report=term-missing:skip-covered

core-coverage: env
	@$(BIN)/python -m pytest -q $(CORE_TESTS) --cov=mem3r_ros --cov-report= --no-cov-on-fail
	@$(BIN)/coverage report --format=total \
	    --include="$$(printf 'mem3r_ros/%s.py,' $(CORE))" | \
	    sed 's/.*/coverage of the core by its own tests: & % (make coverage: all)/'

fuzz: env ## feed damaged inputs to all readers, kill writers (FUZZ_INPUTS=..., KILLS=...)
	@$(BIN)/python tools/fuzz.py --inputs $(FUZZ_INPUTS)
	@$(BIN)/python tools/kill_test.py --kills $(KILLS)

lint: env ## check format, style and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

clean: ## remove the environment and what builds and demos wrote
	rm -rf .venv .venv.lock build install log dist demo_output *.egg-info \
	    .pytest_cache .mypy_cache .ruff_cache
