"""Requests to the scoring family.

``parser`` implements the contract, ``record_validation`` names every fault of every record, ``column_mapping``
reads rows of a plant's own tables.
"""
