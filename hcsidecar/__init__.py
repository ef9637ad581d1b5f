"""One process per server: membership of a farm, its health URL, and its share of a virtual IP."""

__version__ = "0.1.0"
