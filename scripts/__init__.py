"""Commands under the names of the client's guide, a few lines each; ``cli`` does the work."""
