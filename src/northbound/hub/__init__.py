"""Builds the processes from the settings; the only reader of backends."""
