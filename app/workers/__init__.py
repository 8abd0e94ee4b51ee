"""Loops: a stop event, one call, a wait."""

from app.workers.flush import FlushWorker
from app.workers.loop import run_loop

__all__ = ["FlushWorker", "run_loop"]
