"""A lens of one's own: the logit lens without the direction that all layers share."""

import patchlens as pl

model = pl.load("demo")
trace = model.trace(pl.demo_picture("cat"), "What is right of the apple?", steps=True)
means = [trace.normed_at(layer).mean(0) for layer in trace.layers]


def centred(normed, layer):
    """Normed states [pos, d_model] in, states for the unembedding out."""
    return normed - means[layer] + means[-1]


lens = pl.FunctionLens(centred, name="centred")
pl.check_lens(lens, model)
raw, own = trace.read(), trace.read(lens)
for layer in range(model.n_layers + 1):
    print(layer, raw.top(layer)[0].piece, own.top(layer)[0].piece)
