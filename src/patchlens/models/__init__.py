"""Models as patchlens reads them: one adapter per family, each proven against the model's own logits."""
