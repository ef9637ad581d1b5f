"""The application: how it is checked."""
