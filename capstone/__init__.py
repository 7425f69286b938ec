"""The capstone's house: a judge, submissions read with suspicion, and a leaderboard."""
