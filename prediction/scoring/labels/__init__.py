"""Review the scores of new records: doubtful ones, raters that drift, and how raters agree.

``review`` is the entry point. ``similar_rows`` finds the nearest reports, ``doubtful_scores`` judges single
scores by them, ``raters`` tests whether the newest scores of one rater follow another rule than everything
else, and ``agreement`` compares raters on similar reports.
"""
