"""The audit chain as a whole: checkpoints, reading, export, verification."""
