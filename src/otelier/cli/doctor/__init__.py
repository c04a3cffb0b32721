"""`otelier doctor`: what is active in this process, what is wrong, and what to do about it."""
