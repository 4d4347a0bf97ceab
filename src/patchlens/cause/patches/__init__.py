"""Ablate what a lens points at, beside random patches, a ring and the rest, and map what every block does."""
