"""Who does the work of a study: this process, processes of this machine, actors of a Ray cluster."""
