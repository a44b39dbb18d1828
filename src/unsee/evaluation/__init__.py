"""Questions, answers, grades and scores."""
