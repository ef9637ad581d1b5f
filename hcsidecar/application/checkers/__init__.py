"""Probes of the application, one module per kind."""
