"""The batched world: thousands of flights at once in torch, on CPU or GPU, by the same laws and effects."""
