"""What a deployment pays: computation, memory, transmission."""
