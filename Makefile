# The everyday commands. `make` alone lists them.

CARGO ?= cargo
DEMO := config/demo/online-retail/products.csv

# The documentation is for those who work on the shop, private items included; so links to them are fine.
DOC_LINTS := -D warnings -A rustdoc::private_intra_doc_links

.DEFAULT_GOAL := help
.PHONY: help run test check bench

help: ## list the commands
	@echo "make run    build the shop and open it on http://127.0.0.1:8000/, with a demo catalogue"
	@echo "make test   run every test on a private PostgreSQL and a private Redis"
	@echo "make check  formatting, lints, documentation, dependencies"
	@echo "make bench  measure the shop against pgbench and bare HTTP; writes docs/benchmarks.md"
	@echo
	@echo "What is missing is installed with apt where that is possible, and named where it is not."

run: ## open the shop
	scripts/install-missing.sh postgres
	$(CARGO) build --release --locked
	target/release/emporium serve --first-run $(DEMO)

test: ## run every test
	scripts/install-missing.sh postgres redis browser websockets nextest
	tests/with-services.sh $(CARGO) nextest run --workspace --locked
	$(CARGO) test --doc --workspace --locked

check: ## formatting, lints, documentation, dependencies
	scripts/install-missing.sh deny
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="$(DOC_LINTS)" $(CARGO) doc --workspace --no-deps --document-private-items --locked
	scripts/check-dependencies.sh

bench: ## measure, for about forty minutes; nothing else should run meanwhile
	scripts/install-missing.sh postgres
	$(CARGO) build --release --locked
	scripts/bench.sh
