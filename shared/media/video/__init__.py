"""Video files as upright pictures of square pixels, each with its time: one decoder for whoever reads one."""
