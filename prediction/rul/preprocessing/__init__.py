"""From a device's rows to the input of the network, with the influence of operating conditions removed."""
