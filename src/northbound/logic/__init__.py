"""Decisions, pure: facts and `now` in, values out."""
