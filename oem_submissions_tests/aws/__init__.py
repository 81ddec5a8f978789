"""AWS, as moto's server answers it."""
