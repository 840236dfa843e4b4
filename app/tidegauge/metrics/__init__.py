"""Profiles, and a baseline, to numbers: one concern a file, put together as the contract's metrics record."""
