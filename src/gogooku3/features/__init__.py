"""The catalogue of 139 past-only features and the six quality features. Never reads a target."""
