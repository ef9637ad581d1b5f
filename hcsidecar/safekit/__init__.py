"""SafeKit modules on disk, and the `safekit` command of their scripts."""
