"""The console: a process of its own that serves people and programs, so that no daemon reads what strangers send.

It asks the daemon of its node over `console.sock`, and the others through it. It has no key, no capability and writes
no file. When nobody looks, it asks nobody.
"""
