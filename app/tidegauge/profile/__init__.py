"""Mergeable summaries, one kind a file."""
