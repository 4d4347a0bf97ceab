"""Score the nouns of a caption by whether the picture shows them, and edit out those that it does not."""

from patchlens.cause.hallucination.captions import calibrated as calibrated
from patchlens.cause.hallucination.captions import caption_question as caption_question
from patchlens.cause.hallucination.captions import cause_hallucination as cause_hallucination
from patchlens.cause.hallucination.captions import validation_cases as validation_cases
from patchlens.cause.hallucination.described import described as described
