"""`otelier demo`: a service with three agents and two tenants, its telemetry, and what it shows.

`app` is the service and runs in a process of its own, so nothing is imported here.
"""
