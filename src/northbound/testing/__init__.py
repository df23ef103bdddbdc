"""Shipped test tools: the vector runner, conformance suites, fakes and the simulator."""
