"""Adapters for the real applications, as an engineer of a dealer group writes them: by the public adapter API alone."""
