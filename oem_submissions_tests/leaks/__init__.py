"""Nothing that is secret or personal is stored anywhere: claims filed at a portal that tells everybody everything."""
