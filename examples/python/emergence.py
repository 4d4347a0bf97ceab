"""At which layer does each of five animals emerge on the patches that show it?"""

import patchlens as pl

PICTURES = {"cat": "cat", "cow": "cow", "elephant": "elephant", "rabbit": "elephant", "giraffe": "giraffe"}

model = pl.load("demo")
layers = {}
for animal, picture in PICTURES.items():
    trace = model.trace(pl.demo_picture(picture), "Describe the picture.", max_new_tokens=0)
    reading = trace.read(top_k=3, targets=animal)
    layers[animal] = reading.emergence(animal, k=1, at="patches")
    best = reading.patch_map(animal, layer=layers[animal]).max()
    print(f"{animal:10s} the best token of some patch from layer {layers[animal]}, at {best:.2f} nats")
