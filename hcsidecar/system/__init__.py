"""What is asked of the operating system: priority, threads, signals, files and programs."""
