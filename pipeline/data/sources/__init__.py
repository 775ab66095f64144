"""Where rows come from: files, archives, packages, hub, generators."""
