"""Dense layers and tensors on the pruning core: numpy and PyTorch."""
