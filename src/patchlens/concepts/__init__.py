"""Words of one meaning: which tokens spell them, in which languages, and which comes first in a reading."""

from patchlens.concepts.dictionary import Dictionary as Dictionary
from patchlens.concepts.dictionary import Form as Form
from patchlens.concepts.language import language_of as language_of
