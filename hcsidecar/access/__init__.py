"""Users and API tokens on disk, and their passwords as argon2id makes them unreadable."""
