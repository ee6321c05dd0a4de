# make help lists the commands. They work on Linux and macOS with Python 3.11 to 3.13.

# The first of these that is there and new enough, or say it yourself: make book PYTHON=/path/to/python3.12
CANDIDATES := python3 python3.13 python3.12 python3.11
IN_RANGE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(firstword $(foreach p,$(CANDIDATES),$(shell $(p) -c "$(IN_RANGE)" 2>/dev/null && echo $(p))))
VENV := .venv
RUN := $(VENV)/bin/python
PORT ?= 8000

.DEFAULT_GOAL := help
.PHONY: help book test notebooks serve assignments evidence colab lock clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

book: notebooks ## build the site into _build/html: environment, stale notebooks, pages
	@$(RUN) book/tools/build_site.py

test: $(VENV)/installed ## check everything: fast tests, every notebook anew (nbval), browser tests
	@$(RUN) -m pytest --nbval tests notebooks $(ARGS)

notebooks: $(VENV)/installed ## execute the chapters that are stale; CHAPTER=07 for one, FORCE=1 for fresh ones too
	@$(RUN) book/tools/build_notebooks.py $(if $(CHAPTER),--chapter $(CHAPTER)) $(if $(FORCE),--force)

serve: book ## build and show the site at http://127.0.0.1:8000 (PORT=8001 for another port)
	@echo "open http://127.0.0.1:$(PORT) (stop with Ctrl-C)"
	@$(RUN) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

assignments: $(VENV)/installed ## make the releases in notebooks/assignments from their masters (needs bubblewrap)
	@$(RUN) -m helpers.coursework release book/assignments/*.md --out notebooks/assignments

evidence: $(VENV)/installed ## compute the stored results anew (minutes to hours; needs COURSE_DATA_DIR or a network)
	@for script in book/evidence/*.py; do $(RUN) $$script || exit 1; done

colab: $(VENV)/installed ## run the notebooks as Colab does: its Python and versions, no helpers, an empty folder (ASSIGNMENTS=1 for those)
	@$(RUN) book/tools/simulate_colab.py $(if $(CHAPTER),--chapter $(CHAPTER)) $(if $(ASSIGNMENTS),--assignments)

lock: $(VENV)/installed ## choose the newest versions that pyproject.toml allows and write requirements.txt
	@$(RUN) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command "make lock" --extra run --extra pretrained --extra coursework --group dev --upgrade pyproject.toml -o requirements.txt

clean: ## remove what was built, the environment too; stored notebooks stay
	rm -rf _build $(VENV) *.egg-info

$(VENV)/installed: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 found. Install one, or: make book PYTHON=/path/to/it"; exit 1; }
	@$(PYTHON) -c "$(IN_RANGE)" || { echo "$(PYTHON) is not a Python 3.11, 3.12 or 3.13."; exit 1; }
	@test -x $(RUN) || { echo "making the environment in $(VENV) with $$($(PYTHON) --version)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing what requirements.txt locks (a minute or two the first time)"
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.txt
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
