"""The quiz at the end of a notebook."""


def display_quiz(path: str) -> None:
    """Show a quiz of `exercises/quiz`, by its path from the notebook, without what jupyterquiz would fetch.

    On a page that has shown a formula, jupyterquiz loads MathJax from the web, for formulas in the quiz,
    unless the page has a function that sets them. No quiz of the course has any, so that one does nothing.
    """
    import jupyterquiz
    from IPython.display import Javascript, display

    display(Javascript("if (window.MathJax && !window.MathJax.typeset) window.MathJax.typeset = () => {};"))
    jupyterquiz.display_quiz(path)
