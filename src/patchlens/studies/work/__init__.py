"""What a worker does: a batch of items through one model and every lens, out come rows of the tables."""
