"""`otelier demo`: two services, a worker that is killed, five agents and two tenants, and their telemetry.

`apps` are the services and the worker; they run in processes of their own, so nothing is imported here.
"""
