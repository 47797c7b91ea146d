"""A run folder: file names, manifest, locking, listing. Never trains, predicts or scores."""
