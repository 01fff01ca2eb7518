# What each target does is told by `make help`. Settings are environment variables: PROBELET_LAB=NAME
# for a second lab, PROBELET_KUBECONFIG and PROBELET_IMAGES for a cluster of yours, PROBELET_CACHE.

# The first build takes minutes and shows its progress; later ones have nothing to say.
QUIET := $(if $(wildcard target/debug/lab),--quiet)
LAB := cargo run $(QUIET) --package probelet-tests --bin lab --

.DEFAULT_GOAL := help
.PHONY: help demo test bench lab deploy lab-down lab-status

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: deploy ## the whole story on a real cluster: a server's health switched, labels that follow
	@cargo run --quiet --locked --package probelet-tests --bin demo

test: ## every test; the end-to-end ones on the same kind of cluster
	@tests/run

bench: deploy ## speed and memory, each figure beside the thing it is compared with
	@cargo build --quiet --locked --release --package probelet-tests --bin bench --bin bench-heal --bin bench-webhook
	@target/release/bench
	@target/release/bench-heal
	@target/release/bench-webhook
	@cargo bench --quiet --locked --package probelet-webhook --bench review --bench review-system

lab: ## bring up a real Kubernetes cluster on this machine; prints its kubeconfig's path last
	@$(LAB) up

deploy: lab ## build the images and install probelet into the lab
	@$(LAB) deploy

lab-down: ## take the lab down; nothing of it is left but the built programs
	@$(LAB) down

lab-status: ## tell what runs and how much memory it has
	@$(LAB) status
