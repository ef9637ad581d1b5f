"""The farm file: its tables and values, what they must be to each other, and error messages about it."""
