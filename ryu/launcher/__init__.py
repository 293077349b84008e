"""Runs Ryu 4.34 on today's Python and eventlet, with the corrections that Topicast relies on."""
