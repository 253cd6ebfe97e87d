"""Peers that need an environment of their own, and runs in a process of their own."""
