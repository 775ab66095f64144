"""Stage ``spread``: which training points make seeds disagree, judged on other seeds."""
