"""Makes what is committed beside it: Grafana's dashboards, and the rules as a resource of the Prometheus operator."""
