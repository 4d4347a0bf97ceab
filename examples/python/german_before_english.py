"""Asked in German: does the German word come before the English one?"""

import patchlens as pl

model = pl.load("demo")
reading = model.trace(pl.demo_picture("bicycle"), "Was ist das?").read(targets=["Fahrrad", "bicycle"])
layers = {}
for word in ("Fahrrad", "bicycle"):
    layers[word] = {
        at: reading.emergence(word, k=1, at=at)  # first layer at which it is the best token
        for at in ("answer", "patches")
    }
    print(f"{word:8s} first, by layer: {layers[word]}")
