"""One suite for every edge: whatever a client can see of a call is the same, whichever edge answers."""
