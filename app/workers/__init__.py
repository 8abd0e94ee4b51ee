"""Loops: a stop event, one call, a wait."""

from app.workers.flush import FlushWorker
from app.workers.loop import Loop, run_loop

__all__ = ["FlushWorker", "Loop", "run_loop"]
