"""Is the cat needed for the answer, and what is read on its patches without it?"""

import patchlens as pl

model = pl.load("demo")
trace = model.trace(pl.demo_picture("cat"), "What is right of the apple?")
cat = pl.Box(78, 72, 125, 125)  # pixels: left, top, right, bottom
print(trace.ablate(cat))

changed = trace.under(pl.Ablate(cat))
for own in (trace, changed):
    reading = own.read(targets="cat")
    course = reading.trajectory("cat", at="answer")
    print(f"{own.answer.text:5s}", " ".join(f"{value:6.2f}" for value in course))
