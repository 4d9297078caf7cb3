"""Exact, tabular forms of what the FOP paper claims: soft policies, factorised policy iteration, fits of payoffs.

Nothing here learns from samples and no learner imports it: tests/theory checks the paper's statements with it and
`python src/theory_report.py` prints the numbers of docs/algorithms/fop.md.
"""
