"""What does the model say without the picture, and which of its words need it?"""

import patchlens as pl

model = pl.load("demo")
question = "What is right of the apple?"
with_picture = model.trace(pl.demo_picture("cat"), question)
text_alone = model.trace(None, question)
print(f"with the picture: {with_picture.answer.text!r}, from the text alone: {text_alone.answer.text!r}")

hidden = pl.Knockout("text", "image") + pl.Knockout("answer", "image")
effects = with_picture.effects([hidden])
for piece, plain, without in zip(effects.pieces, effects.plain, effects.logprobs[0], strict=True):
    print(f"{piece}: {plain:.2f} nats, {without:.2f} with the picture hidden from every word")
