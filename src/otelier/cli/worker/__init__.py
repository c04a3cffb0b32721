"""`otelier worker`: run the handlers of modules until the process is told to stop."""
