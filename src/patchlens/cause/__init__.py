"""Experiments on top of interventions: many cases, each effect beside its control, with intervals."""
