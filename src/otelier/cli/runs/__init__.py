"""`otelier runs`, `show`, `approvals` and the verbs: look at runs of workflows from outside, and tell them something.

Each of them is a client of the engine, and imports it when it is called.
"""
