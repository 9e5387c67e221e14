"""Training reports: from the plain data of one session to a PDF and an HTML file.

One sub-package a step: ``facts`` collects what is stored about a session, ``narrative`` writes the sentences,
``layout`` arranges blocks in a document, ``charts`` draws figures and ``render`` writes the files.
``build.build_report`` runs the steps and is all that other packages need, besides ``facts.collect_facts``.
"""
