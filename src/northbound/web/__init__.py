"""HTTP doors and pages; never imports backends or rooms."""
