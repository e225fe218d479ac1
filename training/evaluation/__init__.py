"""How good the networks are: predictions on held-out patients, figures with intervals, reports."""
