"""A replicated store: one PostgreSQL with synchronous standbys, behind any number of servers."""
