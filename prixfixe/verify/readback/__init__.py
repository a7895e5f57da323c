"""Read back what a server stored: adapters, and how others add one."""
