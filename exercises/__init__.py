"""What a notebook asks its learner: a check for each exercise, wrong answers to it, and a quiz.

Everything is named after a notebook's topic, its file name without the number: for `losses` there are
`losses.py` with the checks, `wrong_answers/losses.md` with the answers that they must refuse, and
`quiz/losses.json`. A notebook says `from exercises import losses as check`, then `check.causal_lm(answer)`.
"""
