"""Running the fleet: lines, and where instances are served."""
