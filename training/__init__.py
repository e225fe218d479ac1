"""Networks, data, training, evaluation and the phantom generator."""
