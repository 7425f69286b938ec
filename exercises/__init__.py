"""What a notebook asks its learner: a check for each exercise, wrong answers to it, and a quiz.

A notebook's topic is its file name without the number. For `losses` there are `losses.py` with the checks,
`wrong_answers/losses.md`, and `quiz/losses.json`; the notebook says `from exercises import losses as check`.
"""
