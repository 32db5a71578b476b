"""What touches the world: sources, the warehouse, checks, metrics, estimates, the command line."""
