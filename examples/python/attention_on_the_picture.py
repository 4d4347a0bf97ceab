"""How much attention falls on the picture, layer by layer, where the answer starts?"""

import patchlens as pl

model = pl.load("demo")
trace = model.trace(pl.demo_picture("cat"), "What is right of the apple?")
frame = trace.attend().to_pandas("layer")
print(frame[["layer", "patch", "text", "sink"]].round(2).to_string(index=False))
