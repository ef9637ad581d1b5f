"""Access to the operating system: priority, threads, signals, files and programs."""
