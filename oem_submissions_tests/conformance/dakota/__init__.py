"""Dakota Trucks: parts returns. Written as an engineer would: by the adapter API and the skin's base class alone."""
