"""How much attention falls on the picture, layer by layer, where the answer starts?"""

import patchlens as pl

model = pl.load("demo")
trace = model.trace(pl.demo_picture("cat"), "What is right of the apple?")
frame = trace.attend().to_pandas()
by_layer = frame[frame["class"] == "patch"].groupby("layer")["share"].mean()
print(by_layer.map("{:.1%}".format).to_string())
