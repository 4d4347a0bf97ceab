"""How do the tuned and the raw lens differ, layer by layer?"""

import patchlens as pl

model = pl.load("demo")
trace = model.trace(pl.demo_picture("cat"), "What is right of the apple?", steps=True)
raw, tuned = trace.read("logit"), trace.read("tuned")
frame = pl.compare(raw, tuned)  # differences are the second's less the first's
summary = frame.groupby("layer")[["agrees", "overlap", "entropy", "kl_to_final"]].mean()
print(summary.round(2).to_string())
