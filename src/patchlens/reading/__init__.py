"""What a lens saw: the Reading, its records and its file. NumPy alone."""
