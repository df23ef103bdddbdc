"""The moving parts: each moves data, awaits, and lets a pure twin decide."""
