"""Ways to look at a reading: a page, an index of pages, charts, and tables for the terminal."""
