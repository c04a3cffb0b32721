"""The two services of the demonstration, written as any user would: they come in by otelier's front door.

Each runs in a process of its own, so nothing is imported here.
"""
