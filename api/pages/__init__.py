"""Pages for people: the description of the API (/docs) and the page that trains a forecasting network.

They are static files without inline scripts or styles, and need no network beyond this server.
"""
