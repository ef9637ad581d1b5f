"""SafeKit modules turned into farm files."""
