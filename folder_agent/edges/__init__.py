"""One module or package for each outside thing; each translates that thing's errors into the core's."""
