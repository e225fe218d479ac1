"""What the operators see: metrics of the house, of traffic and of the results' plausibility, without patient data."""
