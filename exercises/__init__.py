"""What a notebook asks its learner: a check for each exercise, wrong and right answers to it, and a quiz."""
