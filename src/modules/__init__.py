"""Networks. Modules never see the configuration; they take numbers and tensors."""
