"""Fitting lenses: data, split by picture, states, solvers, report."""
