"""The farm file: its tables and values, the checks within and between them, its reference and its error messages."""
