"""The two services and the worker of the demonstration, which use only otelier's public names, like any program.

Each runs in a process of its own, so nothing is imported here.
"""
