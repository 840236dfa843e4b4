# make demo: the main job on real data. make test: lint, types, tests. Both need only Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
export PYTHONUNBUFFERED := 1

.PHONY: demo test lint types unit live kafka browser screenshots faults fuzz soak simulate bench evaluate dashboards wandb-runs clean

demo: $(VENV)/.demo
	$(BIN)/tidegauge demo $(if $(DAYS),--days $(DAYS)) $(if $(SPEED),--speed $(SPEED))

test: lint types unit live

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: $(VENV)/.dev
	$(BIN)/mypy

# One more at a time than there are processors: some wait for processes and clocks.
unit: $(VENV)/.dev .venv-fuzz/.ready
	$(BIN)/pytest -q -n $(shell $(PYTHON) -c 'import os; print(1 + (os.cpu_count() or 1))') --dist worksteal --ignore=tests/kafka --ignore=tests/browser

# What needs a real Kafka or a real browser waits a lot: side by side, the longest files first.
LONGEST := $(foreach name,rekey security exactly_once half_dead schema_registry rebuild operations,tests/kafka/test_$(name).py)
live: $(VENV)/.dev .venv-prefect/.ready .venv-mlflow/.ready .venv-confluent/.ready
	$(BIN)/pytest -q -n 4 --dist loadfile --no-loadscope-reorder $(LONGEST) tests/kafka tests/browser

# Long forms of tests whose short forms run with the others, property tests on examples they have not tried, and ten minutes of fuzzing.
faults: $(VENV)/.dev .venv-fuzz/.ready .venv-airflow/.ready .venv-kserve/.ready .venv-mlserver/.ready .venv-bentoml/.ready
	TIDEGAUGE_FAULT_TABLE=yes $(BIN)/pytest -q -m long
	HYPOTHESIS_PROFILE=exploring $(BIN)/pytest -q -n auto --dist worksteal --ignore=tests/kafka --ignore=tests/browser
	$(MAKE) fuzz SECONDS=85

kafka: $(VENV)/.dev .venv-prefect/.ready .venv-mlflow/.ready .venv-confluent/.ready
	$(BIN)/pytest -q -n 2 --dist loadfile tests/kafka

dashboards: $(VENV)/.dev
	$(BIN)/python deploy/grafana/generate.py
	$(BIN)/python deploy/prometheus/wrap.py

browser: $(VENV)/.dev
	$(BIN)/pytest -q tests/browser

# Pictures of the console in README and docs, of the demo's nine months: two minutes.
screenshots: $(VENV)/.dev
	PYTHONPATH=tests $(BIN)/python -m support.screenshots docs/images

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/rekeying.py
	$(BIN)/python benchmarks/schema_registry.py
	$(BIN)/python benchmarks/logger.py
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/verdict_cost.py
	$(BIN)/python benchmarks/verdict_worker.py
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/alert_latency.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/partitions.py
	$(BIN)/python benchmarks/console_start.py

# Looks for input that breaks what reads others' bytes, with Atheris, beginning with tests/fixtures/fuzz: SECONDS for each of six targets. Then
# for requests that the console's API does not answer as its document says, with Schemathesis: as many for each operation.
fuzz: $(VENV)/.dev .venv-fuzz/.ready
	for target in event delta spec baseline record changelog; do \
	  PYTHONPATH=tests:.venv-fuzz $(BIN)/python -m support.fuzzing $$target $(or $(SECONDS),100) || exit 1; done
	PYTHONPATH=tests $(BIN)/python -m support.api_fuzzing $(or $(SECONDS),100)

# Workers on a model of Kafka, with faults at any moment that a seed decides: SEEDS= many from FIRST= on, or SEED=, one and its schedule.
simulate: $(VENV)/.dev
	PYTHONPATH=tests:app $(BIN)/python -m simulation.simulate $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(FIRST),--first $(FIRST)) $(if $(JOBS),--jobs $(JOBS))

# An hour of load with rebalances: what must not grow is measured, and drawn in docs/images/soak.svg.
soak: $(VENV)/.dev
	$(BIN)/python benchmarks/soak.py --plot docs/images/soak.svg $(if $(MINUTES),--minutes $(MINUTES)) $(if $(RATE),--rate $(RATE))

# False alarms and recall beside Evidently, NannyML, River and the PSI rule: half an hour, or make evaluate QUICK=1.
evaluate: $(VENV)/.evaluate $(PEERS)/.ready
	$(BIN)/python benchmarks/evaluation/evaluate.py $(if $(QUICK),--quick) $(if $(JOBS),--jobs $(JOBS))
	$(if $(QUICK),,$(BIN)/python benchmarks/evaluation/few_windows.py $(if $(JOBS),--jobs $(JOBS)))
	$(if $(QUICK),,$(BIN)/python benchmarks/evaluation/few_requests.py $(if $(JOBS),--jobs $(JOBS)))
	$(if $(QUICK),,$(BIN)/python benchmarks/evaluation/near_limit.py $(if $(JOBS),--jobs $(JOBS)))
	$(if $(QUICK),,$(BIN)/python benchmarks/evaluation/causes.py $(if $(JOBS),--jobs $(JOBS)))
	$(if $(QUICK),,$(BIN)/python benchmarks/evaluation/carried.py $(if $(JOBS),--jobs $(JOBS)))

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[demo]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@

$(VENV)/.evaluate: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[evaluate]'
	touch $@

# The other monitors, in an environment of their own: .venv-peers.
$(PEERS)/.ready: benchmarks/peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install -q -r benchmarks/peers.txt
	touch $@

tests/fixtures/nannyml_cbpe.json: benchmarks/nannyml_oracle.py | $(PEERS)/.ready
	$(PEERS)/bin/python benchmarks/nannyml_oracle.py $@

# Prefect pins what we use in other versions; its flow runs the command `tidegauge` and needs nothing of ours.
.venv-prefect/.ready: deploy/prefect/requirements.txt
	$(PYTHON) -m venv .venv-prefect
	.venv-prefect/bin/python -m pip install -q -r $<
	touch $@

# A real MLflow server for the tests, with pins of its own; tidegauge speaks its REST API and needs nothing of it.
.venv-mlflow/.ready: tests/fixtures/mlflow-requirements.txt
	$(PYTHON) -m venv .venv-mlflow
	.venv-mlflow/bin/python -m pip install -q -r $<
	touch $@

# Confluent's own serializers, which need other libraries than tidegauge does: what services send with them.
.venv-confluent/.ready: tests/fixtures/confluent-requirements.txt
	$(PYTHON) -m venv .venv-confluent
	.venv-confluent/bin/python -m pip install -q -r $<
	touch $@

# Real model servers, each with pins of its own: `tidegauge ingest` reads what they log and needs nothing of them.
.venv-kserve/.ready .venv-mlserver/.ready .venv-bentoml/.ready: .venv-%/.ready: tests/fixtures/inference/%-requirements.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install -q -r $<
	touch $@

# Runs of Weights & Biases as it writes them, for the test of their reader; the commit is always the same, the times are not.
wandb-runs: .venv-wandb/.ready
	directory=$$(mktemp -d) && cd $$directory && \
	  $(CURDIR)/.venv-wandb/bin/python $(CURDIR)/tests/support/wandb_runs.py $(CURDIR)/tests/fixtures/wandb && rm -rf $$directory

.venv-wandb/.ready: tests/fixtures/wandb-requirements.txt
	$(PYTHON) -m venv .venv-wandb
	.venv-wandb/bin/python -m pip install -q -r $<
	touch $@

# A real Airflow for the test of its DAG, which runs the command `tidegauge` as Prefect's flow does.
.venv-airflow/.ready: tests/fixtures/airflow-requirements.txt
	$(PYTHON) -m venv .venv-airflow
	.venv-airflow/bin/python -m pip install -q -r $<
	touch $@

# Atheris, which not every Python has a wheel of, and Schemathesis, which would load into every run of pytest; the rest is in .venv.
.venv-fuzz/.ready: tests/fixtures/fuzz-requirements.txt $(VENV)/.dev
	$(BIN)/python -m pip install -q --no-deps --upgrade --target .venv-fuzz -r $<
	touch $@

clean:
	rm -rf $(VENV) .venv-prefect .venv-mlflow .venv-confluent .venv-airflow .venv-kserve .venv-mlserver .venv-bentoml .venv-wandb $(PEERS) demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis
