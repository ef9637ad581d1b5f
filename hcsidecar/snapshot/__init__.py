"""What a support snapshot has of this machine and of a node's files: read here, also where no daemon answers.

Nothing here changes anything, and nothing waits for ever: each part is read in a thread of its own that is left behind
when its time is over.
"""
