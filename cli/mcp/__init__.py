"""``millwright mcp``: the API as tools of the Model Context Protocol, over the Python client."""
