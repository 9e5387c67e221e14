"""Training (``fitting``, ``augmentation``), the linear blend (``ensemble``) and the ``novelty`` score."""
