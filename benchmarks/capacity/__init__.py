"""How many studies an hour need how much: measured on this machine, the rest simulated from that (docs/capacity.md)."""
