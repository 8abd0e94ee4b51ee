"""Pages for people: self-contained HTML, German and English, without scripts."""

from app.web.problem_page import ProblemText, create_problem_router

__all__ = ["ProblemText", "create_problem_router"]
