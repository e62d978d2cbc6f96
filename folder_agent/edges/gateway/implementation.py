"""What this program calls itself in DICOM (PS3.7 D.3.3.2): in associations, and in files that it makes. Constants."""

UID = "2.25.214823417563189240811275412906571938113"
VERSION = "FOLDER_AGENT"  # at most 16 characters
