"""How fast an endpoint may be asked, and by whom: decisions without any I/O, and one race."""
