"""Long-running changes of the platform: steps, deadline, owner, exit."""
