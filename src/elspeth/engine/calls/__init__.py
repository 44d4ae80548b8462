"""Calls to systems outside: made, answered from a recorded run, or made and compared with one."""
