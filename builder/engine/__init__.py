"""Where tasks run: in this process, in several of this machine, or on a cluster; one interface for every stage."""
