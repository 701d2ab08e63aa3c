"""What pruning does to the quality of networks: distributions over seeds, never one lucky run."""
