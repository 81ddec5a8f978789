"""Pure decisions and vocabulary: claims, states, reason codes, outcomes, evidence rules.

No I/O, no library that does any.
"""
