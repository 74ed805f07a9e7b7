"""HTTP for every listener: connections, bodies, middleware and limits."""
