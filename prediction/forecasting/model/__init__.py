"""Networks trained epoch by epoch (``fitting``) or in closed form (``ridge``), chosen by ``search``."""
