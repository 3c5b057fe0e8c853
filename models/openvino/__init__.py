"""Networks in OpenVINO, the faster engine on CPUs: nothing here but `convert` needs torch."""
