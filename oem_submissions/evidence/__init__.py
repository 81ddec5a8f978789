"""Evidence that stands up in an audit: write-once stores, the sealed bundle, and the verifier.

Imports ports, domain and settings, nothing else of ours. What is captured in a browser belongs to `portal`.
"""
