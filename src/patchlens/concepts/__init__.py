"""Words of one meaning: which tokens spell them, in which languages, and which comes first in a reading."""

from patchlens.concepts.dictionary import Dictionary as Dictionary
from patchlens.concepts.dictionary import Form as Form
from patchlens.concepts.first import FirstForm as FirstForm
from patchlens.concepts.first import first_forms as first_forms
from patchlens.concepts.forms import FormTokens as FormTokens
from patchlens.concepts.forms import form_tokens as form_tokens
from patchlens.concepts.language import language_of as language_of
from patchlens.concepts.speech import Speech as Speech
from patchlens.concepts.speech import languages as languages
