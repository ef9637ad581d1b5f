"""Reads SafeKit modules from disk, and provides the `safekit` command for their scripts."""
