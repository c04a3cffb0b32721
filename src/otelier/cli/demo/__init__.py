"""`otelier demo`: two services with four agents and two tenants, their telemetry, and what it shows.

`apps` are the services and run in processes of their own, so nothing is imported here.
"""
