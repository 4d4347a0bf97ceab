"""Hold the effects that a lens foretells against those that interventions have."""
