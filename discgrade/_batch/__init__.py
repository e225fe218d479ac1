"""``discgrade batch``: grade every study below a folder, however often it is interrupted."""
