"""Which patches carry the answer? A causal map, and the answer without its strongest patches."""

import numpy as np

import patchlens as pl

model = pl.load("demo")
trace = model.trace(pl.demo_picture("cat"), "What is right of the apple?")
causal_map = trace.map(block=3)  # [rows, cols]: change of the answer's log-probability, nats
for row in causal_map:
    print(" ".join(f"{value:6.2f}" for value in row))

strongest = causal_map <= np.nanquantile(causal_map, 0.1)
ablation = trace.ablate(strongest)
print(ablation)
