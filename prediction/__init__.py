"""What is learnt and what is predicted: the contract, the registry, serving, and one folder a family."""
