"""The prompts of a run, a pure function of seed and index: synthetic texts of a length in tokens, conversations, files.

`prepare` makes them (only it, `files` and `counting` touch the world); everything else is pure. Nothing is kept for a
request: whoever needs its prompt again asks for its index again.
"""
