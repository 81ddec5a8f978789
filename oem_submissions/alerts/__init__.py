"""From the ledger's log of alerts to people: messages, channels (Apprise), delivery, the dead man's switch.

What is an alert is decided elsewhere. URLs of channels hold tokens: they are in memory only, and nothing here names
more of one than scheme and host.
"""
