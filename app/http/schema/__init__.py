"""Requests and answers as pydantic models; the only place where pydantic meets the domain."""
