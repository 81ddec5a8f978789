"""What is peculiar to one OEM portal, and nothing else: one package per OEM, found through `registry`."""
