"""Converts SafeKit modules to farm files."""
