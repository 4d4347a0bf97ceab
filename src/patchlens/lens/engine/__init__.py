"""The engine that streams statistics over the vocabulary, a chunk at a time."""
