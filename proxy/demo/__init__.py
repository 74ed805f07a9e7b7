"""The demo: the proxy between two simulators, played in scenes and judged by their journals."""
