"""Score the nouns of a caption by whether the picture shows them, and edit out those that it does not."""
