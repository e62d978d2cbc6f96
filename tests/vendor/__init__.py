"""Files of real devices: the test collections of pydicom and of the package pydicom-data."""
