"""Tables: read (``reading``, ``parquet``), check (``column_names``, ``validation``) and fix them (``repair``)."""
