"""Scenes with known truth, the questions one can ask of them, and the words for what they show."""
