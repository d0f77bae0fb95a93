"""What is written down for a cluster, and what will run of it: documents, Pods, Services, scalers, GPUs, nodes."""
