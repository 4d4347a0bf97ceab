"""Forbid attention on one way at a time, in windows of blocks, beside as many edges at random."""
