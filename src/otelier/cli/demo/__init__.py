"""`otelier demo`: two services with four agents and two tenants, and their telemetry.

`apps` are the services and run in processes of their own, so nothing is imported here.
"""
